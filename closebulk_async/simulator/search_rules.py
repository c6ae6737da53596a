"""The rules of searches that a test may set."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators


@frozen(kw_only=True)
class SearchRules:
    """How far a search reaches.

    Documented: a cursor lives for 30 s (`cursor_seconds`), and a walk has a hard limit of 10 000 objects (`max_walk`);
    that `_fields` may be too long, but not from how many names per type on (`max_fields`). Pages of 200 rows have been
    seen (`max_limit`). No source says what the hard limit looks like: with `walk_ends="silent"` the cursor is null, as
    if there were no more; with `"refused"` there is one, and a 400 for whoever uses it. Nor is it said which objects a
    query finds that names no type: those in `found_unasked`.
    """

    cursor_seconds: float = field(default=30.0, validator=validators.gt(0))
    max_walk: int = field(default=10_000, validator=validators.ge(1))
    walk_ends: Literal["silent", "refused"] = "silent"
    max_limit: int = field(default=200, validator=validators.ge(1))
    max_fields: int = 100
    found_unasked: tuple[Literal["lead", "contact"], ...] = ("lead",)
