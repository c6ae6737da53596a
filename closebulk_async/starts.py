"""The request values of the four POSTs: what to start, checked before anything is sent.

Which keywords an action takes is a table (`RULES`). The vendor types these bodies as «any»; where its prose is
silent, on the ten newer edit types, on `reassign` and on `bulk_object_type`, the rules are assumptions, and `extra`
carries what they do not foresee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, cast

import attrs
import orjson

from closebulk_async.errors import InvalidRequestError, UnsafeQueryError
from closebulk_async.guard import find_danger
from closebulk_async.models import (
    BulkAction,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkObjectType,
    BulkSequenceSubscription,
    ContactPreference,
    CustomFieldOperation,
    EditType,
    Kind,
    SequenceActionType,
)
from closebulk_async.plain_json import to_plain_json
from closebulk_async.query import Query, to_query_dict

if TYPE_CHECKING:
    from enum import StrEnum

A_co = TypeVar("A_co", bound=BulkAction, covariant=True)
SQuery: TypeAlias = Query | Mapping[str, Any]
"""An Advanced-Filtering query: a value of this package, or the JSON object that the service takes."""


def _to_s_query(s_query: SQuery | None) -> Mapping[str, Any] | None:
    return None if s_query is None else to_query_dict(s_query, name="s_query")


@attrs.frozen(kw_only=True)
class Rule:
    """Which of its own keywords one type of action takes."""

    required: frozenset[str] = frozenset()
    exactly_one_of: tuple[frozenset[str], ...] = ()
    at_least_one_of: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()

    @property
    def known(self) -> frozenset[str]:
        """Every keyword that may be given."""
        return self.required.union(self.allowed, self.at_least_one_of, *self.exactly_one_of)


@attrs.frozen(kw_only=True, eq=False, repr=False, init=False)  # what no one makes needs none of it
class _Start(Generic[A_co]):
    """The keywords that all four kinds share. A keyword that is None is left out of the body."""

    kind: ClassVar[Kind]
    chooser: ClassVar[str | None] = None
    """The keyword that decides which rule holds."""
    not_sent: ClassVar[frozenset[str]] = frozenset({"allow_all", "all_sequences", "extra"})

    s_query: Mapping[str, Any] | None = attrs.field(default=None, converter=_to_s_query)
    query: str | None = None
    results_limit: int | None = None
    sort: Sequence[Mapping[str, Any]] | None = None
    send_done_email: bool | None = None
    allow_all: bool = False
    extra: Mapping[str, Any] | None = None
    _json: bytes = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        _check_types(self)
        _check_words(self)
        _check_rule(self)
        try:
            self._keep_copies()
            danger = None if self.allow_all else find_danger(self.s_query, self.query)
        except RecursionError:
            message = f"{self.kind}: the request contains itself, or is nested too deeply"
            raise InvalidRequestError(message) from None
        if danger:
            message = f"{self.kind}: {danger}. Narrow the query, or pass allow_all=True if every lead is really meant"
            raise UnsafeQueryError(message)

    def _keep_copies(self) -> None:
        """Make the body now: what the caller does to its own dicts later must not pass by the checks."""
        sent = {name: to_plain_json(value, path=name) for name, value in self.given().items()}
        extra = to_plain_json(self.extra or {}, path="extra")
        for name, value in (*sent.items(), *([] if self.extra is None else [("extra", extra)])):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_json", _to_canonical_json(sent | cast("dict[str, object]", extra), kind=self.kind))

    def given(self) -> dict[str, Any]:
        """The keywords that were given and belong into the body."""
        fields = (field.name for field in attrs.fields(type(self)) if field.init and field.name not in self.not_sent)
        return {name: value for name in fields if (value := getattr(self, name)) is not None}

    def body(self) -> dict[str, Any]:
        """The JSON object that the POST carries, as the caller's own copy."""
        body: dict[str, Any] = orjson.loads(self._json)
        return body

    def to_json(self) -> bytes:
        """The canonical body: keys sorted, so that equal starts are equal bytes."""
        return self._json


@attrs.frozen(kw_only=True, eq=False)
class EmailStart(_Start[BulkEmail]):
    """A bulk email."""

    kind = Kind.EMAIL

    template_id: str | None = None
    email_account_id: str | None = None
    sender: str | None = None
    contact_preference: ContactPreference | str | None = None


@attrs.frozen(kw_only=True, eq=False)
class DeleteStart(_Start[BulkDelete]):
    """A bulk delete. Whether the service takes `bulk_object_type` in a POST is unconfirmed; its default is leads."""

    kind = Kind.DELETE

    bulk_object_type: BulkObjectType | str | None = None


@attrs.frozen(kw_only=True, eq=False)
class EditStart(_Start[BulkEdit]):
    """A bulk edit; `type` decides which of the other keywords it takes."""

    kind = Kind.EDIT
    chooser: ClassVar[str] = "type"

    type: EditType | str
    lead_status_id: str | None = None
    custom_field_id: str | None = None
    custom_field_name: str | None = None
    custom_field_value: Any = None
    custom_field_values: Sequence[Any] | None = None
    custom_field_operation: CustomFieldOperation | str | None = None


@attrs.frozen(kw_only=True, eq=False)
class SequenceStart(_Start[BulkSequenceSubscription]):
    """A bulk sequence subscription; `action_type` decides which of the other keywords it takes.

    Without `sequence_id` the service acts on every sequence: that needs `all_sequences=True`.
    """

    kind = Kind.SEQUENCE_SUBSCRIPTION
    chooser: ClassVar[str] = "action_type"

    action_type: SequenceActionType | str
    sequence_id: str | None = None
    sender_account_id: str | None = None
    sender_name: str | None = None
    sender_email: str | None = None
    contact_preference: ContactPreference | str | None = None
    calls_assigned_to: Sequence[str] | None = None
    from_phone_number_id: str | None = None
    all_sequences: bool = False


Start: TypeAlias = EmailStart | DeleteStart | EditStart | SequenceStart


_FIELD = frozenset({"custom_field_id", "custom_field_name"})
_VALUE = frozenset({"custom_field_value", "custom_field_values"})
_SET_FIELD = Rule(exactly_one_of=(_FIELD, _VALUE), allowed=frozenset({"custom_field_operation"}))
_CLEAR_FIELD = Rule(exactly_one_of=(_FIELD,))
_SENDER = frozenset({"sender_account_id", "sender_name", "sender_email"})
_CALLS = frozenset({"calls_assigned_to", "from_phone_number_id"})
_EXISTING_SUBSCRIPTIONS = Rule(allowed=frozenset({"sequence_id", "all_sequences"}))

RULES: Mapping[tuple[Kind, str | None], Rule] = MappingProxyType(
    {
        (Kind.EMAIL, None): Rule(
            required=frozenset({"template_id", "email_account_id"}), allowed=frozenset({"sender", "contact_preference"})
        ),
        (Kind.DELETE, None): Rule(allowed=frozenset({"bulk_object_type"})),
        (Kind.EDIT, EditType.SET_LEAD_STATUS): Rule(required=frozenset({"lead_status_id"})),
        (Kind.EDIT, EditType.SET_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_CUSTOM_FIELD): _CLEAR_FIELD,
        # Assumed to take what the two above take: the vendor has these in its schema, without a word of prose.
        (Kind.EDIT, EditType.SET_CONTACT_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_CONTACT_CUSTOM_FIELD): _CLEAR_FIELD,
        (Kind.EDIT, EditType.SET_ACTIVITY_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_ACTIVITY_CUSTOM_FIELD): _CLEAR_FIELD,
        (Kind.EDIT, EditType.SET_GLOBAL_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_GLOBAL_CUSTOM_FIELD): _CLEAR_FIELD,
        (Kind.EDIT, EditType.SET_OPPORTUNITY_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_OPPORTUNITY_CUSTOM_FIELD): _CLEAR_FIELD,
        (Kind.EDIT, EditType.SET_CUSTOM_OBJECT_CUSTOM_FIELD): _SET_FIELD,
        (Kind.EDIT, EditType.CLEAR_CUSTOM_OBJECT_CUSTOM_FIELD): _CLEAR_FIELD,
        (Kind.SEQUENCE_SUBSCRIPTION, SequenceActionType.SUBSCRIBE): Rule(
            required=frozenset({"sequence_id", "contact_preference"}) | _SENDER, allowed=_CALLS
        ),
        (Kind.SEQUENCE_SUBSCRIPTION, SequenceActionType.RESUME): _EXISTING_SUBSCRIPTIONS,
        (Kind.SEQUENCE_SUBSCRIPTION, SequenceActionType.RESUME_FINISHED): _EXISTING_SUBSCRIPTIONS,
        (Kind.SEQUENCE_SUBSCRIPTION, SequenceActionType.PAUSE): _EXISTING_SUBSCRIPTIONS,
        # Assumed: the vendor's schema has the word and nothing else.
        (Kind.SEQUENCE_SUBSCRIPTION, SequenceActionType.REASSIGN): Rule(
            at_least_one_of=_SENDER | _CALLS, allowed=frozenset({"sequence_id", "all_sequences"})
        ),
    }
)

_WORDS: Mapping[tuple[Kind, str], Sequence[StrEnum]] = MappingProxyType(
    {
        (Kind.EMAIL, "contact_preference"): tuple(ContactPreference),
        (Kind.DELETE, "bulk_object_type"): tuple(BulkObjectType),
        (Kind.EDIT, "type"): tuple(EditType),
        (Kind.EDIT, "custom_field_operation"): tuple(CustomFieldOperation),
        (Kind.SEQUENCE_SUBSCRIPTION, "action_type"): tuple(SequenceActionType),
        (Kind.SEQUENCE_SUBSCRIPTION, "contact_preference"): (ContactPreference.LEAD, ContactPreference.CONTACT),
    }
)
"""The words that a keyword takes.

A word that the vendor adds tomorrow is sent through `extra`, with the keyword left out.
"""


def _check_words(start: _Start[Any]) -> None:
    for (kind, name), words in _WORDS.items():
        if kind is start.kind and (word := getattr(start, name)) is not None and word not in words:
            message = f"{kind}: {name}={word!r} is not known: expected one of {', '.join(words)}"
            raise InvalidRequestError(message)


def _check_rule(start: _Start[Any]) -> None:
    choice = getattr(start, start.chooser) if start.chooser else None
    if start.chooser and choice is None:
        message = f"{start.kind}: {start.chooser} is missing: it decides what else is needed"
        raise InvalidRequestError(message)
    rule = RULES[start.kind, choice]
    own = {field.name for field in attrs.fields(type(start))} - {field.name for field in attrs.fields(_Start)}
    # False is «not given» for a flag; for custom_field_value it is a value.
    given = {name for name in own if getattr(start, name) is not (False if name in _FLAGS else None)} - {start.chooser}
    label = f"{start.kind} {start.chooser}={choice!s}" if choice else str(start.kind)
    problems = [
        *(f"{name} is missing" for name in sorted(rule.required - given)),
        *(f"{name} does not belong to it" for name in sorted(given - rule.known)),
        *(
            f"exactly one of {' and '.join(sorted(group))} is needed"
            for group in rule.exactly_one_of
            if len(group & given) != 1
        ),
    ]
    if rule.at_least_one_of and not rule.at_least_one_of & given:
        problems.append(f"at least one of {', '.join(sorted(rule.at_least_one_of))} is needed")
    if {"sequence_id", "all_sequences"} <= given:
        problems.append("sequence_id and all_sequences=True contradict each other")
    if problems:
        message = f"{label}: {'; '.join(problems)}"
        raise InvalidRequestError(message)
    if "all_sequences" in rule.known and not {"sequence_id", "all_sequences"} & given:
        message = f"{label}: without sequence_id it means every sequence: name one, or pass all_sequences=True"
        raise UnsafeQueryError(message)


_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "query": str,
        "send_done_email": bool,
        "sort": Sequence,
        "extra": Mapping,
        "custom_field_values": Sequence,
        "calls_assigned_to": Sequence,
    }
)
_FLAGS = frozenset({"allow_all", "all_sequences"})
"""Whoever sets one means it: what is merely truthy, or None, is refused."""


def _check_types(start: _Start[Any]) -> None:
    for name in (field.name for field in attrs.fields(type(start)) if field.init):
        value, wanted = getattr(start, name), bool if name in _FLAGS else _TYPES.get(name, object)
        if value is None and name not in _FLAGS:
            continue
        # A text is a sequence of characters, and never what is meant by several values.
        if not isinstance(value, wanted) or (wanted is Sequence and isinstance(value, str)):
            message = f"{start.kind}: {name} must be a {wanted.__name__} and is the {type(value).__name__} {value!r}"
            raise InvalidRequestError(message)
    if start.results_limit is not None and not (type(start.results_limit) is int and start.results_limit > 0):
        message = f"{start.kind}: results_limit must be a positive integer and is {start.results_limit!r}"
        raise InvalidRequestError(message)
    for name, value in start.given().items():
        if (name.endswith("_id") or name in _TEXTS) and not (isinstance(value, str) and value.strip()):
            message = f"{start.kind}: {name} must be a text that is not empty and is {value!r}"
            raise InvalidRequestError(message)
    documented = {field.name for field in attrs.fields(type(start)) if field.init}
    # Also a safety matter: a query in `extra` would pass unseen by the guard.
    if clash := sorted(documented & set(start.extra or {})):
        message = f"{start.kind}: extra holds {', '.join(clash)}, which have keywords of their own"
        raise InvalidRequestError(message)


_TEXTS = frozenset({"sender", "sender_name", "sender_email", "custom_field_name"})


def _to_canonical_json(body: Mapping[str, object], *, kind: Kind) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError as exc:  # an integer beyond 64 bits, half of a surrogate pair, more than 254 levels
        message = f"{kind}: this cannot be sent as JSON: {exc}"
        raise InvalidRequestError(message) from exc
