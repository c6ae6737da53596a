"""What a query is made of: JSON objects with a `type` as frozen values, and back to the same JSON.

Two rules make the way back exact. Keys that a class does not know are kept beside its fields. And what does not keep
the rules of its class (a null, an empty list of ids, a text where a list belongs) stays the JSON that it was, as does
what has a type that nobody knows: it becomes an instance of the family's base class, all of it kept beside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, TypeVar

import attrs

from closebulk_async.errors import InvalidRequestError

P = TypeVar("P", bound="Part")
T = TypeVar("T")
Attribute: TypeAlias = "attrs.Attribute[Any]"
Validator: TypeAlias = Callable[["Part", Attribute, Any], None]

NOTHING = "{}"
"""`rest` of a part that has no unknown keys."""

_READ = "read"

OF_TEXTS: Mapping[str, Any] = {_READ: lambda data: tuple(data) if isinstance(data, list) else data}
"""The metadata of a field that holds several texts."""


@attrs.frozen
class Part:
    """A JSON object with a `type`.

    `rest` is what it holds beside its fields, as canonical JSON text: dicts would neither hash nor stay as they are.
    """

    word: ClassVar[str | None] = None
    """What `type` says in the JSON of this class; None for a base class, whose `rest` says it."""

    rest: str = attrs.field(default=NOTHING, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, as the caller's own copy."""
        said = {name: value for name in attrs.fields_dict(type(self)) if (value := getattr(self, name)) is not None}
        del said["rest"]
        own: dict[str, Any] = {} if self.word is None else {"type": self.word}
        rest: dict[str, Any] = json.loads(self.rest)
        return own | {name: _to_json(value) for name, value in said.items()} | rest

    @classmethod
    def fill(cls, data: Mapping[str, Any]) -> Self:
        """The part of plain JSON whose `type` is this class's. Raises InvalidRequestError for what does not fit."""
        fields = attrs.fields_dict(cls)
        own = data.keys() & fields.keys() - {"rest"}
        missing = [name for name, field in fields.items() if field.default is attrs.NOTHING and name not in own]
        if missing or any(data[name] is None for name in own):
            message = f"{cls.word}: {', '.join(missing) or 'a field'} is missing or null"
            raise InvalidRequestError(message)
        values = {name: fields[name].metadata.get(_READ, _keep)(data[name]) for name in own}
        typed = {"type"} if cls.word is not None else set()
        rest = {key: value for key, value in data.items() if key not in own | typed}
        return cls(**values, rest=dump(rest))


def dump(data: Mapping[str, Any]) -> str:
    """Canonical text of plain JSON: equal objects are equal texts, and 1, 1.0 and true are three."""
    return json.dumps(data, sort_keys=True)


def read_part(data: object, base: type[P], known: Mapping[str, type[P]]) -> P:
    """The part of plain JSON, an instance of `base` itself where no class of `known` fits.

    Raises InvalidRequestError for what is no JSON object.
    """
    if not isinstance(data, Mapping):
        message = f"{data!r} is no JSON object"
        raise InvalidRequestError(message)
    word = data.get("type")
    for cls in (known.get(word, base) if isinstance(word, str) else base, base):
        try:
            return cls.fill(data)
        except InvalidRequestError:
            continue
    return base(rest=dump(data))


def _keep(value: T) -> T:
    return value


def _to_json(value: object) -> object:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value.to_dict() if isinstance(value, Part) else value


def reads(read: Callable[[object], Part]) -> Mapping[str, Any]:
    """The metadata of a field that holds another part: what makes it of plain JSON."""
    return {_READ: read}


def reads_all(read: Callable[[object], Part]) -> Mapping[str, Any]:
    """The metadata of a field that holds any number of parts."""
    return {_READ: lambda data: tuple(map(read, data)) if isinstance(data, list) else data}


def is_a(of: type[Part]) -> Validator:
    """A validator: another part."""

    def check(instance: Part, attribute: Attribute, value: object) -> None:
        if not isinstance(value, of):
            refuse(instance, attribute, value, wanted=f"a {of.__name__}")

    return check


def are_all(of: type[Part]) -> Validator:
    """A validator: any number of other parts."""

    def check(instance: Part, attribute: Attribute, values: object) -> None:
        if not isinstance(values, tuple) or not all(isinstance(value, of) for value in values):
            refuse(instance, attribute, values, wanted=f"a list, of which each is a {of.__name__}")

    return check


def is_text(instance: Part, attribute: Attribute, value: object) -> None:
    """A validator: a text that says something."""
    if not isinstance(value, str) or not value.strip():
        refuse(instance, attribute, value, wanted="a text that is not empty")


def are_texts(instance: Part, attribute: Attribute, values: object) -> None:
    """A validator: at least one text, and each says something."""
    if not isinstance(values, tuple) or not values:
        refuse(instance, attribute, values, wanted="a list of at least one text")
    for value in values:
        is_text(instance, attribute, value)


def is_number(instance: Part, attribute: Attribute, value: object) -> None:
    """A validator: a finite number."""
    # Only a float is asked whether it is finite: an integer may be too large to be one.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        refuse(instance, attribute, value, wanted="a finite number")


def is_boolean(instance: Part, attribute: Attribute, value: object) -> None:
    """A validator: true or false."""
    if not isinstance(value, bool):
        refuse(instance, attribute, value, wanted="True or False")


def refuse(instance: Part, attribute: Attribute, value: object, *, wanted: str) -> NoReturn:
    """Raise InvalidRequestError for a value that the field may not hold."""
    message = f"{instance.word or 'query'}: {attribute.name} must be {wanted} and is {value!r}"
    raise InvalidRequestError(message)
