"""What of a start its action shows again, in one spelling: how the action of a lost answer is recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from closebulk_async.errors import FieldNotRequested, InvalidRequestError
from closebulk_async.wire import ECHOED_BY_ALL, KINDS

if TYPE_CHECKING:
    from closebulk_async.models import BulkAction, Kind

FREE_FORM = frozenset({"query", "s_query", "sort"})
"""Fields that the service may spell otherwise than they were sent."""

_TOO_DEEP = (RecursionError, orjson.JSONEncodeError)
"""What comes of values that are nested beyond reason. A start refuses those; the lists of a service may hold any."""

_SHOWN_UNSENT = {**ECHOED_BY_ALL, "bulk_object_type": "lead"}
"""What an object shows for a field that was not sent; None for all others."""


def fingerprint_of(kind: Kind, body: Mapping[str, Any]) -> str:
    """A digest of those fields of a POST's body that responses echo: equal for requests that they cannot tell apart.

    Raises InvalidRequestError for a body that is nested too deeply for that.
    """
    try:
        return _digest({name: _normal(name, body.get(name)) for name in echoed_fields(kind)})
    except _TOO_DEEP:
        message = f"{kind}: the request is nested too deeply"
        raise InvalidRequestError(message) from None


def fingerprint_of_action(action: BulkAction) -> str:
    """The digest that the POST of this action must have had. Fields that it does not show count as not sent.

    Empty, which is nobody's, for one that is nested more deeply than any start of this package.
    """
    try:
        return _digest({name: _normal(name, _shown(action, name)) for name in echoed_fields(action.kind)})
    except _TOO_DEEP:
        return ""


def may_come_from(action: BulkAction, body: Mapping[str, Any]) -> bool:
    """Whether the action may be the one of this POST, even if the service spells its query or fills in defaults."""
    sent = {name: value for name, value in body.items() if name in echoed_fields(action.kind) - FREE_FORM}
    if not isinstance(sent.get("custom_field_value"), str):
        sent.pop("custom_field_value", None)  # nobody knows how the service spells it
    try:
        return all(
            _normal(name, value) == _normal(name, shown)
            for name, value in sent.items()
            if (shown := _shown(action, name)) is not None
        )
    except _TOO_DEEP:
        return False


def echoed_fields(kind: Kind) -> frozenset[str]:
    """The fields of a POST that the objects of a kind show again."""
    return KINDS[kind].echoed.union(ECHOED_BY_ALL)


def _shown(action: BulkAction, name: str) -> object:
    try:
        return getattr(action, name)
    except FieldNotRequested:
        return None


def _normal(name: str, value: object) -> object:
    if value is None:
        return _SHOWN_UNSENT.get(name)
    if name == "s_query":
        return sort_query(value)
    # The schema knows texts only; what a number or a list becomes is not documented, its JSON is the best guess.
    if name == "custom_field_value" and not isinstance(value, str):
        return orjson.dumps(value).decode()
    return value


_UNORDERED: Mapping[str, str] = MappingProxyType(
    {"and": "queries", "or": "queries", "term": "values", "reference": "object_ids"}
)
"""The list whose order says nothing, of each type of JSON object that has one. In other types, who knows."""


def sort_query(node: object) -> object:
    """A query in one spelling: without null and `negate: false`, and with what has no order sorted.

    The app's own "Copy Filters" writes `negate: false` on every node. Queries that differ only in that are equal.
    """
    if isinstance(node, list | tuple):
        return [sort_query(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    said = {key: sort_query(value) for key, value in node.items() if value is not None}
    if said.get("negate") is False:
        del said["negate"]
    word = said.get("type")
    members = said.get(_UNORDERED[word]) if isinstance(word, str) and word in _UNORDERED else None
    if isinstance(members, list):
        members.sort(key=lambda item: json.dumps(item, sort_keys=True))
    return said


def _digest(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
