"""What the package hands about are values: frozen, and made by keyword. The exceptions are listed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import attrs
import pytest

from .test_layers import BANDS, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

MUTABLE: Mapping[str, tuple[str, ...]] = {
    "budget": ("Budget", "Sight", "Window"),
    "choosing": ("Errand",),
    "clock": ("Alarm",),
    "connections": ("Delivery",),
    "far_limiter": ("FarLine",),
    "file_wire": ("FileState",),
    "lines": ("Line", "Waiter"),
    "listing": ("Repeats",),
    "ratelimit": ("RateLimit",),
    "search": ("Border",),
    "shared_budget": ("SharedBudget",),
    "shared_limiter": ("SharedLine",),
    "sourcing": ("Source",),
    "wire": ("Request", "Response"),
}
"""What keeps count while something goes on, and what is made for each request, where freezing would cost."""

POSITIONAL: Mapping[str, tuple[str, ...]] = {
    "auth": ("ApiKey", "BearerToken"),
    "budget": ("Budget",),
    "choosing": ("Errand",),
    "clock": ("Alarm", "SystemClock"),
    "condition_words": ("Phrase",),
    "conditions": (
        "BooleanIs",
        "Condition",
        "CurrentUser",
        "CustomField",
        "Exists",
        "FieldPart",
        "FixedLocalDate",
        "FixedUtc",
        "MomentPart",
        "MomentRange",
        "NumberRange",
        "Reference",
        "RegularField",
        "Term",
        "Text",
    ),
    "connections": ("Delivery",),
    "event_wire": ("EventPage", "EventType"),
    "far_limiter": ("FarLine",),
    "fields": ("AnyField", "ObjectFields"),
    "guard": ("Reach",),
    "lines": ("Line", "Waiter"),
    "listing": ("Repeats",),
    "models": ("JobRef", "Page"),
    "pace": ("Pace",),
    "parts": ("Part",),
    "query": (
        "And",
        "ById",
        "FieldCondition",
        "HasRelated",
        "ObjectType",
        "Or",
        "Query",
        "SavedSearch",
        "TextSearch",
    ),
    "search_wire": ("Hit", "SearchPage", "SortKey"),
    "shared_budget": ("SharedBudget",),
    "shared_limiter": ("SharedLine",),
    "sourcing": ("Block", "Source"),
    "waiters": ("End",),
    "wire": ("KindOfJob",),
}
"""What has an obvious order, or parts of a query, which are made of many small ones."""


@pytest.mark.parametrize("module", sorted(name for name, band in BANDS.items() if band < PROGRAMS))
def test_values_are_frozen_and_made_by_keyword(module: str) -> None:
    """Each public attrs class of the first three bands, but for those that are listed here."""
    loaded = importlib.import_module(f"closebulk_async.{module}".removesuffix(".__init__"))
    mine = {
        name: attrs.inspect(it)
        for name, it in vars(loaded).items()
        if isinstance(it, type) and it.__module__ == loaded.__name__ and "__attrs_attrs__" in vars(it)
        if not name.startswith("_")
    }
    assert {name for name, made in mine.items() if not made.is_frozen} == set(MUTABLE.get(module, ()))
    by_position = {name for name, made in mine.items() if made.kw_only is attrs.ClassProps.KeywordOnly.NO}
    assert by_position == set(POSITIONAL.get(module, ()))
