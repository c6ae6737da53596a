"""Ids that are made of their owner and a number, so that what they name need not be kept to be found again."""

from __future__ import annotations

import random
import string
from functools import lru_cache

_BASE62 = string.digits + string.ascii_letters
_DIGITS = 10
_NUMBERS = 62**_DIGITS
# Any number without a common factor with 62 will do: ids then do not sort by number, as real ones do not.
_SCRAMBLE = 514_229_514_229_514_229
_UNSCRAMBLE = pow(_SCRAMBLE, -1, _NUMBERS)

EVENT = 22
OBJECT = 43


def numbered_id(prefix: str, owner: str, number: int, *, length: int = EVENT) -> str:
    """The id of what has this number of its owner's: the prefix and so many characters."""
    rest, digits = number * _SCRAMBLE % _NUMBERS, ""
    for _ in range(_DIGITS):
        rest, digit = divmod(rest, 62)
        digits += _BASE62[digit]
    return prefix + make_tag(owner, length - _DIGITS) + digits


@lru_cache(maxsize=4096)
def make_tag(owner: str, length: int = EVENT - _DIGITS) -> str:
    """What all ids of an owner have in common, behind the prefix."""
    return "".join(random.Random(owner).choices(_BASE62, k=length))


def split_id(event_id: str) -> tuple[str, int] | None:
    """The tag of the owner and the number of an event's id; None for an id that was made in another way."""
    tag, digits = event_id[-EVENT:-_DIGITS], event_id[-_DIGITS:]
    if len(event_id) <= EVENT or not all(digit in _BASE62 for digit in digits):
        return None
    scrambled = sum(_BASE62.index(digit) * 62**place for place, digit in enumerate(digits))
    return tag, scrambled * _UNSCRAMBLE % _NUMBERS
