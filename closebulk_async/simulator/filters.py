"""The filters of webhook subscriptions: which events pass, as the vendor's documentation describes it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .refusals import NOT_A_CHOICE, REQUIRED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .kinds import Json


def passes(rule: Json, value: Json) -> bool:
    """Whether a value (at first the whole event) passes a filter; null and an absent filter let everything pass."""
    return not isinstance(rule, dict) or _TESTS[str(rule["type"])](rule, value)


def judge_filter(rule: Json) -> str:
    """What is wrong with a filter; empty when nothing is."""
    if rule is None:
        return ""
    if not isinstance(rule, dict):
        return "Value must be of dict type."
    kind = rule.get("type")
    if not isinstance(kind, str) or kind not in _TESTS:
        return NOT_A_CHOICE if kind else REQUIRED
    if any(name not in rule for name in _NEEDS.get(kind, ())):
        return REQUIRED
    inner = rule.get("filters", [])
    if not isinstance(inner, list):
        return "Value must be of list type."
    return next(filter(None, map(judge_filter, [*inner, rule.get("filter")])), "")


def _field(rule: Mapping[str, Json], value: Json) -> bool:
    # A field that is not there counts as null, so that a filter can ask for its absence.
    return passes(rule["filter"], value.get(str(rule["field"])) if isinstance(value, dict) else None)


def _contains(rule: Mapping[str, Json], value: Json) -> bool:
    wanted = rule["value"]
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list) and wanted in value


def _all(rule: Mapping[str, Json], value: Json) -> bool:
    return all(passes(inner, value) for inner in _inner(rule))


def _any(rule: Mapping[str, Json], value: Json) -> bool:
    return any(passes(inner, value) for inner in _inner(rule))


def _inner(rule: Mapping[str, Json]) -> list[Json]:
    filters = rule["filters"]
    return filters if isinstance(filters, list) else []


def _any_item(rule: Mapping[str, Json], value: Json) -> bool:
    return isinstance(value, list) and any(passes(rule["filter"], item) for item in value)


_TESTS: Mapping[str, Callable[[Mapping[str, Json], Json], bool]] = MappingProxyType(
    {
        "equals": lambda rule, value: value == rule["value"],
        "not_equals": lambda rule, value: value != rule["value"],
        "is_null": lambda _, value: value is None,
        "non_null": lambda _, value: value is not None,
        "contains": _contains,
        "and": _all,
        "or": _any,
        "not": lambda rule, value: not passes(rule["filter"], value),
        "field_accessor": _field,
        "any_array_value": _any_item,
    },
)

_NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("equals", "not_equals", "contains"), ("value",)),
        **dict.fromkeys(("and", "or"), ("filters",)),
        **dict.fromkeys(("not", "any_array_value"), ("filter",)),
        "field_accessor": ("field", "filter"),
    },
)
