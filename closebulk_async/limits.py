"""What the answers have said of rate limits, group by group: for people who look, not for the pace of requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from closebulk_async.ratelimit import LONGEST, RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

LimitScope: TypeAlias = Literal["key", "organization"]

ORGANIZATION_TO_KEY = 3.0
"""How many times as much as one key the vendor allows all keys of an organization together."""

MOST_SHOWN = 8
"""Limits of one group that are kept: the key's, the organization's, and those that changed meanwhile."""


@attrs.frozen(kw_only=True)
class ShownLimit:
    """One limit of an endpoint group, as the latest answer described it that named this number of requests.

    `limit` is requests per window, `remaining` what was left of them, `resets_at` when the window ends, None where the
    answer did not say so or named an end that is more than a week off. An answer describes only the limit that is
    closest to being hit, and says not whose it is: `scope` is told by the vendor's rule that an organization has three
    times what a key has, and None until both were seen.
    """

    limit: float
    remaining: float | None
    resets_at: datetime | None
    seen_at: datetime
    scope: LimitScope | None = None


@attrs.frozen(kw_only=True)
class GroupLimits:
    """What is known of one endpoint group, `"GET /bulk_action/email/"`.

    `shown` are its limits, the smallest first; `n_throttled` is how many 429s this client got; `stopped_until` is until
    when the latest of them stopped the group (it may have passed), None where there was none.
    """

    group: str
    shown: tuple[ShownLimit, ...] = ()
    n_throttled: int = 0
    stopped_until: datetime | None = None


@attrs.define(eq=False)
class _Log:
    shown: dict[float, tuple[RateLimit, datetime]] = attrs.field(factory=dict)
    n_throttled: int = 0
    stopped_until: datetime | None = None


class LimitLog:
    """Takes in what answers say, at the price of one entry of a dict each."""

    def __init__(self) -> None:
        """Know nothing."""
        self._groups: dict[str, _Log] = {}

    def note(self, group: str, window: RateLimit, *, now: datetime) -> None:
        """An answer of that time had this `RateLimit` header."""
        if window.limit is None:
            return
        log = self._groups.get(group)
        if log is None:
            log = self._groups[group] = _Log()
        log.shown[window.limit] = window, now
        if len(log.shown) > MOST_SHOWN:
            del log.shown[min(log.shown, key=lambda limit: log.shown[limit][1])]

    def note_throttled(self, group: str, seconds: float, *, now: datetime) -> None:
        """A 429 stops the group for so many seconds."""
        log = self._groups.setdefault(group, _Log())
        log.n_throttled += 1
        log.stopped_until = now + timedelta(seconds=seconds)

    def read(self) -> Mapping[str, GroupLimits]:
        """All groups of which anything is known, in alphabetical order."""
        return {group: _read(group, self._groups[group]) for group in sorted(self._groups)}


def _read(group: str, log: _Log) -> GroupLimits:
    return GroupLimits(
        group=group,
        shown=tuple(
            ShownLimit(
                limit=limit,
                remaining=window.remaining,
                resets_at=_end_of(window, seen_at),
                seen_at=seen_at,
                scope=_tell_scope(limit, log.shown),
            )
            for limit, (window, seen_at) in sorted(log.shown.items())
        ),
        n_throttled=log.n_throttled,
        stopped_until=log.stopped_until,
    )


def _end_of(window: RateLimit, seen_at: datetime) -> datetime | None:
    """None also where it is so far off that it is a mistake, or beyond all calendars."""
    reset = window.reset
    return None if reset is None or reset > LONGEST else seen_at + timedelta(seconds=reset)


def _tell_scope(limit: float, shown: Mapping[float, object]) -> LimitScope | None:
    if limit * ORGANIZATION_TO_KEY in shown:
        return "key"
    return "organization" if limit / ORGANIZATION_TO_KEY in shown else None
