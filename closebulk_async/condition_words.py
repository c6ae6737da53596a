"""The fields and conditions of a query in English: `status`, `is one of "stat_1", "stat_2"`.

Whoever reads the words decides by them. So texts stand in quotes, in which nothing can end them, names that are no
plain words as well, and characters that would not be seen, or would turn a line round, as the escapes of JSON.
"""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.conditions import (
    BooleanIs,
    Condition,
    CurrentUser,
    CustomField,
    Exists,
    FieldPart,
    FixedLocalDate,
    FixedUtc,
    MomentPart,
    MomentRange,
    NumberRange,
    Reference,
    RegularField,
    Term,
    Text,
)
from closebulk_async.parts import NOTHING, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SHOWN = 20
"""How many values of a list, or members of an `and` or an `or`, are told; of the others, only how many they are."""
SHOWN_CHARACTERS = 1000
"""How much of one text, or of the JSON of what is unknown, is told."""


def quoted(text: str) -> str:
    """The text as JSON has it, on one line of printable characters, and cut if it is very long."""
    more = len(text) - SHOWN_CHARACTERS
    shown = _printable(json.dumps(text[:SHOWN_CHARACTERS], ensure_ascii=False))
    return shown if more <= 0 else f"{shown} … and {more} more characters"


def bare(name: str) -> str:
    """The name without quotes, if it cannot be taken for anything but a name."""
    return name if re.fullmatch(r"[A-Za-z0-9][\w.:+-]{0,79}", name, re.ASCII) else quoted(name)


def unknown(data: Mapping[str, Any]) -> str:
    """JSON of which nobody knows what it means, said to be that. Cut, it stands in quotes, which still have an end."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"the unknown {_printable(text) if len(text) <= SHOWN_CHARACTERS else quoted(text)}"


def beside(part: Part) -> str:
    """What stands beside that which a part is known to hold, as the end of its words."""
    return "" if part.rest == NOTHING else f" (with {unknown(json.loads(part.rest))})"


def listed(values: Sequence[str]) -> str:
    """The values in quotes, or the first of them and how many there are beside."""
    shown = ", ".join(map(quoted, values[:SHOWN]))
    more = len(values) - SHOWN
    return shown if more <= 0 else f"{shown}, … and {more} more"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "addresses_count": "number of addresses",
        "all_urls_count": "number of URLs",
        "created_by": "creator",
        "date_created": "date of creation",
        "date_updated": "date of the last update",
        "display_name": "display name",
        "emails_count": "number of email addresses",
        "lead_id": "lead",
        "phones_count": "number of phone numbers",
        "status_id": "status",
        "updated_by": "last editor",
        "url": "URL",
        "urls_count": "number of URLs",
    }
)
"""The vendor's fields whose names are not words. Others keep theirs: spaced out, one could be read as a sentence."""


def name_field(field: FieldPart, *, about: str | None) -> str:
    """The field as a noun. Where it belongs to objects of another type than the one that it is `about`, it says so."""
    if isinstance(field, RegularField):
        name = _FIELDS.get(field.field_name) or bare(field.field_name)
        return ("" if field.object_type == about else f"{bare(field.object_type)} ") + name + beside(field)
    if isinstance(field, CustomField):
        return f"custom field {bare(field.custom_field_id)}" + beside(field)
    return f"field of {unknown(field.to_dict())}"


@attrs.frozen
class Phrase:
    """A verb and what follows it. `is_joined` where a negation has to reach over an «and»."""

    verb: str
    what: str
    is_joined: bool = False

    def say(self, *, negated: bool) -> str:
        """The phrase, or its opposite."""
        if not negated:
            return f"{self.verb} {self.what}"
        return f"{_OPPOSITES[self.verb]} " + (f"({self.what})" if self.is_joined else self.what)


_OPPOSITES: Mapping[str, str] = MappingProxyType(
    {"is": "is not", "has": "does not have", "fulfills": "does not fulfill"}
)


def tell_condition(condition: Condition, *, negated: bool) -> str:
    """The condition as a verb and what follows: `is more than 5`, `does not have a value`."""
    tell = _TELLERS.get(type(condition))
    if tell is None:
        return Phrase("fulfills", unknown(condition.to_dict())).say(negated=negated)
    return tell(condition).say(negated=negated) + beside(condition)


def name_text(value: str, mode: str | None) -> str:
    """What is looked for: `the words "ACME Inc."`."""
    if mode is None:
        return f"the text {quoted(value)}"
    known = _MODES.get(mode)
    return f"the text {quoted(value)} in the unknown mode {quoted(mode)}" if known is None else known + quoted(value)


_MODES: Mapping[str, str] = MappingProxyType(
    {"full_words": "the words ", "phrase": "the phrase ", "beginning_of_words": "words that begin with "}
)


def _tell_term(condition: Term) -> Phrase:
    each = "the choice" if len(condition.values) == 1 else "any of the choices"
    return Phrase("has", f"{each} {listed(condition.values)}")


def _tell_reference(condition: Reference) -> Phrase:
    of_type = f"of the type {bare(condition.reference_type)}"
    one, several = _REFERENCES.get(condition.reference_type, (f"the object {of_type}", f"the objects {of_type}"))
    each = one if len(condition.object_ids) == 1 else f"one of {several}"
    return Phrase("is", f"{each} {listed(condition.object_ids)}")


_REFERENCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"user": ("the user", "the users"), "status.lead": ("the status", "the statuses")}
)


def _tell_numbers(condition: NumberRange) -> Phrase:
    said = {
        "more than": condition.gt,
        "at least": condition.gte,
        "less than": condition.lt,
        "at most": condition.lte,
    }
    bounds = [f"{words} {json.dumps(bound)}" for words, bound in said.items() if bound is not None]
    return Phrase("is", " and ".join(bounds), is_joined=len(bounds) > 1)


def _tell_moments(condition: MomentRange) -> Phrase:
    said = {"on or after": condition.on_or_after, "before": condition.before}
    bounds = [f"{words} {_name_moment(bound)}" for words, bound in said.items() if bound is not None]
    return Phrase("is", " and ".join(bounds), is_joined=len(bounds) > 1)


def _name_moment(moment: MomentPart) -> str:
    if isinstance(moment, FixedUtc):
        return bare(moment.value) + beside(moment)
    if isinstance(moment, FixedLocalDate):
        return ("" if moment.which == "start" else "the end of ") + bare(moment.value) + beside(moment)
    return unknown(moment.to_dict())


_TELLERS: Mapping[type[Condition], Callable[[Any], Phrase]] = MappingProxyType(
    {
        BooleanIs: lambda condition: Phrase("is", "true" if condition.value else "false"),
        CurrentUser: lambda _: Phrase("is", "the owner of the key"),
        Exists: lambda _: Phrase("has", "a value"),
        Text: lambda condition: Phrase("has", name_text(condition.value, condition.mode)),
        Term: _tell_term,
        Reference: _tell_reference,
        NumberRange: _tell_numbers,
        MomentRange: _tell_moments,
    }
)
