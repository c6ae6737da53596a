"""The one cattrs converter: JSON bytes to attrs values and back.

It knows no model by name. A class that takes part derives from `JSONValue`; what its fields may hold is read from its
annotations, once. Three rules make the way back exact: a key that the class does not know is kept in `extra`, a field
that was left out stays unset, and a word that an enum does not know stays the plain string that it was.

Dates are parsed to aware datetimes (naive ones are UTC, as the event log's are) and written in the spelling that the
API documents, `2013-12-05T18:34:41.753000+00:00`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
import orjson

from closebulk_async.errors import FieldNotRequested, InvalidRequestError

if TYPE_CHECKING:
    from cattrs.preconf.orjson import OrjsonConverter

V = TypeVar("V", bound="JSONValue")

NOTHING_EXTRA: Mapping[str, Any] = types.MappingProxyType({})
"""What `extra` holds when the service sent nothing unknown: one shared, read-only value for all rows."""


class StructureError(ValueError):
    """A JSON value does not fit the class that it is to become. Whoever knows where it came from says so."""


class JSONValue:  # noqa: PLW1641 - mutable JSON inside: a model that has an identity defines its own hash
    """What every value that came from JSON can do.

    Subclasses are frozen attrs classes with slots and a field `extra`.
    """

    __slots__ = ()

    extra: Mapping[str, Any]

    @property
    def unset(self) -> frozenset[str]:
        """The names of the fields that a narrowed response left out."""
        return frozenset(_slots(type(self)).keys() - _filled(self).keys())

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that this value was read from: the same keys and values, dates as text. The caller's own.

        What is nested more than 250 levels deep raises InvalidRequestError.
        """
        plain: dict[str, Any] = _copy_json(converter().unstructure(self))
        return plain

    def to_json(self) -> str:
        """`to_dict()` as JSON text."""
        return orjson.dumps(self.to_dict()).decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The value of a JSON object, of which it keeps nothing that the caller could still change.

        Missing keys stay unset; a value of a wrong type, or nested more than 250 levels deep, raises
        InvalidRequestError.
        """
        try:
            return converter().structure(_copy_json(data), cls)
        except ValueError as exc:
            message = f"this is not a {cls.__name__}: {exc}"
            raise InvalidRequestError(message) from exc

    # A type checker that saw this would take any name for an attribute of any type.
    if not TYPE_CHECKING:  # pragma: no branch - the other one is never run

        def __getattr__(self, name: str) -> Any:
            # Reached only when a slot is empty or the name is wrong, so that reading a field costs nothing extra.
            if name in _slots(type(self)):
                raise FieldNotRequested(name, owner=type(self).__name__)
            computed = getattr(type(self), name, None)
            if isinstance(computed, property):  # it read an empty slot: once more, so that the error names that field
                return computed.__get__(self)
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _is_same(_filled(self), _filled(other)) and _is_same(self.extra, other.extra)

    def __repr__(self) -> str:
        shown = _filled(self) | ({"extra": dict(self.extra)} if self.extra else {})
        return f"{type(self).__name__}({', '.join(f'{name}={_show(value)}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        # attrs' own pickling would read every field, which an unset one refuses.
        return type(self).from_dict, (self.to_dict(),)


DEEPEST = 250
"""Levels of JSON that are copied: orjson writes 254, and reads a thousand. No start of this package has more either."""


def _copy_json(value: Any, *, level: int = 0) -> Any:
    """A copy down to the scalars: models are shared by all who wait, and must not change under them."""
    if level > DEEPEST:
        message = f"it is nested more than {DEEPEST} levels deep"
        raise InvalidRequestError(message)
    if isinstance(value, Mapping):
        return {key: _copy_json(item, level=level + 1) for key, item in value.items()}
    return [_copy_json(item, level=level + 1) for item in value] if isinstance(value, list) else value


def _is_same(one: object, other: object) -> bool:
    """Whether both are equal, which Python by itself cannot say of what is nested as deeply as orjson reads it."""
    try:
        return one == other
    except RecursionError:
        pass
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            pairs += [(item, other[key]) for key, item in one.items()]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif one != other:
            return False
    return True


def _show(value: object) -> str:
    try:
        return repr(value)
    except RecursionError:
        return f"<a {type(value).__name__} that is nested too deeply to be shown>"


_SLOTS: dict[type, dict[str, Any]] = {}


def _slots(cls: type[JSONValue]) -> dict[str, Any]:
    """The slot descriptor of each JSON field: `extra` is not one, it is where the rest goes."""
    slots = _SLOTS.get(cls)
    if slots is None:
        names = [field.name for field in attrs.fields(cast("Any", cls)) if field.name != "extra"]
        slots = _SLOTS[cls] = {name: getattr(cls, name) for name in names}
    return slots


def _filled(value: JSONValue) -> dict[str, Any]:
    filled = {}
    for name, slot in _slots(type(value)).items():
        try:
            filled[name] = slot.__get__(value)
        except AttributeError:  # an empty slot: the response left this field out
            continue
    return filled


def lay_over(whole: V, narrowed: V) -> V:
    """`whole` with every field that `narrowed` has, both of one class: a narrowed read on top of a whole one."""
    cls = type(whole)
    merged = object.__new__(cls)
    for slot in _slots(cls).values():
        try:
            item = slot.__get__(narrowed)
        except AttributeError:  # an empty slot, and maybe in both
            with suppress(AttributeError):
                slot.__set__(merged, slot.__get__(whole))
            continue
        slot.__set__(merged, item)
    extra = {**whole.extra, **narrowed.extra}
    cls.extra.__set__(merged, types.MappingProxyType(extra) if extra else NOTHING_EXTRA)  # type: ignore[attr-defined]  # a slot, which is set although the class is frozen
    return merged


def decode(body: bytes, of: type[V]) -> V:
    """The value of a body that holds one JSON object. Raises ValueError where it is none, or does not fit."""
    return _structure_hook(of)(_loads_object(body), of)


def decode_page(body: bytes, of: type[V]) -> tuple[list[V], bool]:
    """The rows of a list response and its `has_more` (False where an endpoint leaves it out).

    Raises as `decode` does.
    """
    page = _loads_object(body)
    rows = page.get("data")
    if type(rows) is not list:
        message = "there is no list under 'data'"
        raise StructureError(message)
    structure = _structure_hook(of)
    return [structure(row, of) for row in rows], page.get("has_more") is True


def _loads_object(body: bytes) -> dict[str, Any]:
    data = orjson.loads(body)
    if type(data) is not dict:
        message = f"it is a JSON {_json_name(data)}, not an object"
        raise StructureError(message)
    return data


@cache
def converter() -> OrjsonConverter:
    """Made at its first use: importing cattrs is a good part of what importing the package would cost."""
    from cattrs.preconf.orjson import make_converter  # noqa: PLC0415 - see above

    made = make_converter()
    made.register_structure_hook_factory(_is_json_value, _make_structure_hook)
    made.register_unstructure_hook_factory(_is_json_value, _make_unstructure_hook)
    return made


def _structure_hook(cls: type[V]) -> Callable[[Any, Any], V]:
    return cast("Callable[[Any, Any], V]", converter().get_structure_hook(cls))


def _is_json_value(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, JSONValue)


Reader: TypeAlias = Callable[[Any], Any] | None
"""Makes the attribute of a JSON value; None where it is that value itself."""


def _readers(annotation: Any) -> dict[type, Reader]:
    """Which JSON types an annotation such as `datetime | None` or `Status | str` admits, and how each is read."""
    readers: dict[type, Reader] = {}
    for choice in get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,):
        kind = get_origin(choice) or choice
        if kind is Any:
            return _Anything()
        if kind is datetime:
            readers[str] = parse_datetime
        elif issubclass(kind, StrEnum):
            readers[str] = _Words({member.value: member for member in kind}).__getitem__
        else:
            readers.setdefault(kind, None)
    return readers


class _Anything(dict[type, Reader]):
    """The readers of a field that may hold any JSON value."""

    def __missing__(self, kind: type) -> Reader:
        return None


class _Words(dict[str, str]):
    """The members of an enum by their words; a word that is none of them is itself."""

    def __missing__(self, word: str) -> str:
        return word


def _make_structure_hook(cls: type[V]) -> Callable[[Mapping[str, Any], Any], V]:
    """Fill the slots of a new instance without `__init__`, which cannot leave a field unset, and is slow when frozen.

    What is filled is an instance of a subclass that is not frozen, which then becomes one of `cls`. A row with exactly
    the documented keys, as nearly all are, goes through code that is generated for the class: the loop of `_fill` takes
    half as long again. What that code does not expect goes through the loop, which knows what to do with it.
    """
    hints = get_type_hints(cls)
    readers = {name: _readers(hints[name]) for name in _slots(cls)}
    thawed = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    draft: Any = type(f"{cls.__name__}Draft", (cls,), thawed)
    fill_whole, new = _generate_fill(readers), object.__new__

    def structure(data: Any, _: Any) -> V:
        value = new(draft)
        try:
            if len(data) != len(readers):
                _fill(value, data, readers)
            else:
                fill_whole(value, data)
        except _UNEXPECTED:
            if not isinstance(data, Mapping):
                message = f"it is a JSON {_json_name(data)}, not an object"
                raise StructureError(message) from None
            value = new(draft)
            _fill(value, data, readers)
        value.__class__ = cls
        return cast("V", value)

    return structure


_UNEXPECTED = (KeyError, TypeError, AttributeError, ValueError)
"""A key that is missing or unknown, a value of another type, a row that is no object, a text that is no date."""


def _fill(value: Any, data: Mapping[str, Any], readers: Mapping[str, Mapping[type, Reader]]) -> None:
    """Set the attributes that `data` has, and put what is not documented into `extra`. Raises StructureError."""
    unknown: dict[str, Any] = {}
    for key, item in data.items():
        try:
            read = readers[key][type(item)]
        except KeyError:
            if key in readers:
                wanted = " or ".join(sorted(_JSON_NAMES[kind] for kind in readers[key]))
                message = f"{key!r} holds a JSON {_json_name(item)} where {wanted} belongs"
                raise StructureError(message) from None
            unknown[key] = item
            continue
        try:
            setattr(value, key, item if read is None else read(item))
        except ValueError as exc:
            message = f"{key!r} holds {item!r}: {exc}"
            raise StructureError(message) from exc
    value.extra = types.MappingProxyType(unknown) if unknown else NOTHING_EXTRA


def _generate_fill(readers: Mapping[str, Mapping[type, Reader]]) -> Callable[[Any, Any], None]:
    """Compile `_fill` for rows that have every key, and no other. Raises one of _UNEXPECTED for what does not fit."""
    lines = ["def fill_whole(value, data):"]
    names: dict[str, Any] = {"NOTHING_EXTRA": NOTHING_EXTRA}
    for field, by_type in readers.items():
        lines.append(f"    item = data[{field!r}]")
        reads = {kind: read for kind, read in by_type.items() if kind is not types.NoneType}
        ((kind, read),) = reads.items() or ((object, None),)
        may_be_null = " and item is not None" if types.NoneType in by_type else ""
        if kind is not object:
            lines.append(f"    if type(item) is not {kind.__name__}{may_be_null}: raise TypeError")
        if read is not None:
            names[f"read_{field}"] = read
            lines.append(f"    if item is not None: item = read_{field}(item)")
        lines.append(f"    value.{field} = item")
    lines.append("    value.extra = NOTHING_EXTRA")
    exec("\n".join(lines), names)  # noqa: S102 - the names are those of our own fields; attrs and cattrs do the same
    return cast("Callable[[Any, Any], None]", names["fill_whole"])


_JSON_NAMES: Mapping[type, str] = types.MappingProxyType(
    {
        dict: "object",
        list: "list",
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        types.NoneType: "null",
    }
)


def _json_name(item: object) -> str:
    return _JSON_NAMES.get(type(item), type(item).__name__)


def _make_unstructure_hook(cls: type[V]) -> Callable[[V], dict[str, Any]]:  # noqa: ARG001 - the factory's signature
    def unstructure(value: V) -> dict[str, Any]:
        return {name: to_json_value(item) for name, item in _filled(value).items()} | dict(value.extra)

    return unstructure


def to_json_value(item: Any) -> Any:
    """What JSON holds for the value of a field: dates as text, words of an enum as plain strings."""
    if isinstance(item, datetime):
        return format_datetime(item)
    return item.value if isinstance(item, StrEnum) else item


def parse_datetime(text: str) -> datetime:
    """An aware datetime; a text without an offset is UTC. Raises ValueError, also for one that has no time in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    if moment.year in _EDGES:
        try:
            moment.astimezone(UTC)
        except OverflowError as exc:
            raise ValueError(str(exc)) from exc
    return moment


_EDGES = frozenset({MINYEAR, MAXYEAR})


def format_datetime(moment: datetime) -> str:
    """The spelling that the API documents: ISO 8601 with microseconds and offset."""
    return moment.isoformat(timespec="microseconds")
