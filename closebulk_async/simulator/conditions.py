"""The conditions of a query: whether one value of one field fits.

The vendor's page has `boolean`, `current_user`, `exists`, `text`, `term`, `reference` and `number_range` with `gt`.
Seen elsewhere only: the other bounds of a number, `moment_range`, and the mode `beginning_of_words`. Everything else
that a real service may know is refused, so that a slip does not pass for a condition. What the words mean in detail is
a guess: upper and lower case are the same in texts and not in terms, `full_words` wants each word somewhere and
`phrase` wants them side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from operator import ge, gt, le, lt
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from .kinds import Json, JsonObject
from .refusals import NOT_A_CHOICE, REQUIRED

if TYPE_CHECKING:
    from .records import FieldType

T = TypeVar("T")
Fits = Callable[[Json], bool]

BAD_DATE = "Invalid ISO 8601 datetime."


class MalformedError(Exception):
    """A query that cannot be evaluated; `errors` are by field name, as in a `field-errors` object."""

    def __init__(self, errors: Mapping[str, Json]) -> None:
        super().__init__(errors)
        self.errors = errors


@contextmanager
def within(name: str, index: int | None = None) -> Iterator[None]:
    """What is malformed in the block is so in this field of the node around it (in that item of the field's list)."""
    try:
        yield
    except MalformedError as error:
        inner: JsonObject = {"field-errors": error.errors}
        raise MalformedError({name: inner if index is None else {"errors": {str(index): inner}}}) from None


def take(node: Mapping[str, Json], name: str, kind: type[T]) -> T:
    """A key that a node must have; raises `MalformedError` when it is missing, null or of another type."""
    value = node.get(name)
    if value is None:
        raise MalformedError({name: REQUIRED})
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MalformedError({name: f"Value must be of {kind.__name__} type."})
    return value


def take_texts(node: Mapping[str, Json], name: str) -> frozenset[str]:
    """A key that must be a list of texts."""
    values = take(node, name, list)
    if not all(isinstance(value, str) for value in values):
        raise MalformedError({name: "Value must be of str type."})
    return frozenset(values)


def choose(node: Mapping[str, Json], name: str, choices: Mapping[str, T]) -> T:
    """What the word under that key stands for; raises `MalformedError` for a word that is not among the choices."""
    word = take(node, name, str)
    if word not in choices:
        raise MalformedError({name: NOT_A_CHOICE})
    return choices[word]


@frozen(kw_only=True)
class Asker:
    """Who asks, from where, and what they have saved: `tz_offset` is how far their day is ahead of that of UTC."""

    user_id: str
    tz_offset: timedelta = timedelta()
    saved_searches: Mapping[str, Json] = MappingProxyType({})


def read_condition(condition: JsonObject, known: FieldType | None, asker: Asker) -> Fits:
    """The test that a condition is; `known` is the type of the field, None for a custom one, which may hold anything.

    Raises `MalformedError` for one that cannot be evaluated or that does not go with the field. Of a field with several
    values one has to fit.
    """
    read = choose(condition, "type", _CONDITIONS)
    if known is not None and condition["type"] not in _ALLOWED[known]:
        raise MalformedError({"type": NOT_A_CHOICE})
    fits = read(condition, asker)
    return lambda value: any(map(fits, value)) if isinstance(value, list) else fits(value)


def read_text(node: JsonObject) -> Fits:
    """The test for texts that `mode` and `value` of a node describe; an empty value is in every text."""
    # That nothing is found everywhere is a guess, and the one that a client has to fear.
    find = choose(node, "mode", _MODES)
    wanted = _words(take(node, "value", str))
    return lambda value: isinstance(value, str) and find(wanted, _words(value))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _has_words(wanted: Sequence[str], words: Sequence[str]) -> bool:
    return all(word in words for word in wanted)


def _has_phrase(wanted: Sequence[str], words: Sequence[str]) -> bool:
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def _has_beginnings(wanted: Sequence[str], words: Sequence[str]) -> bool:
    return all(any(word.startswith(beginning) for word in words) for beginning in wanted)


_MODES = MappingProxyType(
    {"full_words": _has_words, "phrase": _has_phrase, "beginning_of_words": _has_beginnings},
)


def _boolean(condition: JsonObject, _asker: Asker) -> Fits:
    wanted = take(condition, "value", bool)
    return lambda value: value is wanted


def _current_user(_condition: JsonObject, asker: Asker) -> Fits:
    return lambda value: value == asker.user_id


def _exists(_condition: JsonObject, _asker: Asker) -> Fits:
    return lambda value: value is not None and value != ""


def _text(condition: JsonObject, _asker: Asker) -> Fits:
    return read_text(condition)


def _term(condition: JsonObject, _asker: Asker) -> Fits:
    wanted = take_texts(condition, "values")
    return lambda value: isinstance(value, str) and value in wanted


def _reference(condition: JsonObject, _asker: Asker) -> Fits:
    # Only `user` is documented, and others exist, so that no word can be refused.
    take(condition, "reference_type", str)
    wanted = take_texts(condition, "object_ids")
    return lambda value: isinstance(value, str) and value in wanted


_COMPARISONS = MappingProxyType({"gt": gt, "gte": ge, "lt": lt, "lte": le})


def _number_range(condition: JsonObject, _asker: Asker) -> Fits:
    bounds = [(compare, _number(condition, name)) for name, compare in _COMPARISONS.items() if _says(condition, name)]
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and all(compare(value, bound) for compare, bound in bounds)
    )


def _says(condition: JsonObject, name: str) -> bool:
    return condition.get(name) is not None


def _number(condition: JsonObject, name: str) -> float:
    value = condition[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedError({name: "Value must be of float type."})
    return value


def _moment_range(condition: JsonObject, asker: Asker) -> Fits:
    since, until = (_bound(condition, name, asker) for name in ("on_or_after", "before"))

    def fits(value: Json) -> bool:
        instant = _read_instant(value, asker)
        return instant is not None and (since is None or since <= instant) and (until is None or instant < until)

    return fits


def _bound(condition: JsonObject, name: str, asker: Asker) -> datetime | None:
    if not _says(condition, name):
        return None
    bound = take(condition, name, dict)
    with within(name):
        return choose(bound, "type", _BOUNDS)(bound, asker)


def _fixed_utc(bound: JsonObject, _asker: Asker) -> datetime:
    instant = _read_instant(take(bound, "value", str), Asker(user_id=""))
    if instant is None:
        raise MalformedError({"value": BAD_DATE})
    return instant


def _fixed_local_date(bound: JsonObject, asker: Asker) -> datetime:
    text = take(bound, "value", str)
    days = choose(bound, "which", {"start": 0, "end": 1})
    instant = _read_instant(text, asker) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    if instant is None:
        raise MalformedError({"value": BAD_DATE})
    return instant + timedelta(days=days)


_BOUNDS: Mapping[str, Callable[[JsonObject, Asker], datetime]] = MappingProxyType(
    {"fixed_utc": _fixed_utc, "fixed_local_date": _fixed_local_date}
)


def _read_instant(value: Json, asker: Asker) -> datetime | None:
    """The instant of a datetime or of its text, of a date alone its first; where it names no offset, the asker's."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=value.tzinfo or timezone(asker.tz_offset)).astimezone(UTC)


_CONDITIONS: Mapping[str, Callable[[JsonObject, Asker], Fits]] = MappingProxyType(
    {
        "boolean": _boolean,
        "current_user": _current_user,
        "exists": _exists,
        "text": _text,
        "term": _term,
        "reference": _reference,
        "number_range": _number_range,
        "moment_range": _moment_range,
    }
)

_ALLOWED: Mapping[FieldType, frozenset[str]] = MappingProxyType(
    {
        "text": frozenset({"exists", "text", "term"}),
        "number": frozenset({"exists", "number_range"}),
        "date": frozenset({"exists", "moment_range"}),
        "user": frozenset({"exists", "reference", "current_user"}),
        "reference": frozenset({"exists", "reference", "term"}),
    }
)
