"""Which tests are to find the changes of which module."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TESTS: Mapping[str, Sequence[str]] = {
    "starting": ("start_once", "starting"),
    "query": ("query", "query_json", "query_words", "query_docs"),
    "progress": ("progress", "pace", "waiting"),
    "ratelimit": ("ratelimit",),
    "policy": ("policy", "cadence", "wire/test_retries"),
    "watching": (
        "watching",
        "waiting_together",
        "waiting_left",
        "stale_answers",
        "webhooks_wake",
        "hearing",
        "memory_of_waits::test_starts_are_not_remembered_for_ever",
        "polling::test_snapshots_stay_whole",
    ),
    "guard": ("guard",),
    "wire": ("wire", "wire_errors"),
    "fingerprints": ("fingerprints",),
    "pace": ("pace",),
    "signing": ("signing", "reading_events"),
    "plain_json": ("query", "query_json"),
    "limits": ("limits",),
}
"""By the name of the module below `closebulk_async`: files below `tests`, without their `test_`, or one test of one.

Few enough to be quick, and all that state what the module promises. What survived here was looked at: by now a test
finds it, or `survivors.toml` has it.
"""

NOT_LOOKED_AT: Mapping[str, Sequence[str]] = {
    "intents": ("start_once", "journal", "announcing"),
    "budget": ("budget",),
    "limiter": ("limiter", "transport_budget"),
    "owning": ("owning",),
    "fencing": ("fencing", "late_starts"),
    "reconciling": ("reconciling",),
    "recovering": ("recovering",),
    "creating": ("starting", "idempotency", "counting", "fencing"),
    "attempts": ("starting", "idempotency"),
    "watches": ("watching", "waiting_events", "stale_answers", "waiting_limits"),
    "waiters": ("waiting", "waiting_left", "waiting_events", "waiting_limits"),
    "convert": ("convert", "models"),
    "starts": ("starts",),
    "listing": ("listing",),
    "parts": ("conditions", "query_json"),
    "conditions": ("conditions", "query_json"),
}
"""The same of modules that run only when they are named: who goes through what survives there moves them up."""

OF_ALL = ("values",)
"""What says something of each module."""


def list_files(module: str) -> list[str]:
    """The tests of a module for pytest, from the root of the checkout."""
    return [_find(name) for name in (*OF_ALL, *{**TESTS, **NOT_LOOKED_AT}[module])]


def _find(name: str) -> str:
    file, *test = name.split("::")
    return "::".join([f"tests/{file if '/' in file else f'test_{file}'}.py", *test])
