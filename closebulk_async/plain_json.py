"""Plain JSON values of the caller's: checked, and copied down to the scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping

from closebulk_async.errors import InvalidRequestError


def to_plain_json(value: object, *, path: str) -> object:
    """A copy of dicts, lists and scalars. Raises InvalidRequestError, naming the place, for what JSON does not know.

    The service refuses NaN and Infinity, and a fast encoder would turn them into null without a word.
    """
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{path} is {value!r}: JSON knows finite numbers only"
        raise InvalidRequestError(message)
    if isinstance(value, float):
        return float(value)  # the encoder does not take subclasses, such as numpy's
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        if strange := [key for key in value if not isinstance(key, str)]:
            message = f"{path} has the key {strange[0]!r}, and keys of JSON are texts"
            raise InvalidRequestError(message)
        return {key: to_plain_json(item, path=f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(item, path=f"{path}.{index}") for index, item in enumerate(value)]
    message = f"{path} is a {type(value).__name__}, which JSON does not know: {value!r}"
    raise InvalidRequestError(message)
