"""`close.limits`: what the answers have said, of which group, and whose limit it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async import CloseBulk
from closebulk_async.limits import GroupLimits, LimitLog, ShownLimit
from closebulk_async.ratelimit import RateLimit
from closebulk_async.simulator import Limits, Simulator, faults

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

READS = "GET /bulk_action/email/"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


async def test_nothing_is_known_before_an_answer(sim: Simulator, clock: FakeClock) -> None:
    """Nor does asking send anything, before the client is open or after."""
    close = CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock)
    assert close.limits == {}
    async with close:
        assert close.limits == {}
    assert sim.requests == ()


async def test_each_group_shows_its_limit(sim: Simulator, clock: FakeClock) -> None:
    """The numbers of the latest answer, and when its window ends."""
    sim.limits = Limits(rate=20, window=8)
    async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close:
        await close.emails.list()
        await close.emails.list()
        await close.deletes.list()
        limits = close.limits
    assert list(limits) == ["GET /bulk_action/delete/", READS]
    (shown,) = limits[READS].shown
    assert (shown.limit, shown.remaining, shown.scope) == (160, 158, None)
    assert shown.resets_at is not None
    assert timedelta(0) < shown.resets_at - shown.seen_at <= timedelta(seconds=8)
    assert limits[READS].n_throttled == 0
    assert limits[READS].stopped_until is None


async def test_429s_are_counted_where_they_were_met(sim: Simulator, clock: FakeClock) -> None:
    """Also those without any header, with the time for which they stopped the group."""
    sim.fail_next(faults.too_many_requests(retry_after=7), times=2)
    async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close:
        before = clock.now()
        await close.emails.list()
        await close.deletes.list()
        limits = close.limits
    assert limits[READS].n_throttled == 2
    stopped_until = limits[READS].stopped_until
    assert stopped_until is not None
    assert stopped_until - before >= timedelta(seconds=14)
    assert "GET /bulk_action/delete/" not in limits or not limits["GET /bulk_action/delete/"].n_throttled


def test_the_larger_of_two_is_the_organization_s() -> None:
    """Three times the key's, as the vendor says; other numbers are nobody's."""
    log = LimitLog()
    log.note("GET /x/", RateLimit(limit=160, remaining=10, reset=2), now=NOW)
    log.note("GET /x/", RateLimit(limit=480, remaining=3, reset=2.5), now=NOW)
    log.note("GET /x/", RateLimit(limit=100, remaining=None, reset=None), now=NOW)
    shown = log.read()["GET /x/"].shown
    assert [(one.limit, one.scope) for one in shown] == [(100, None), (160, "key"), (480, "organization")]
    assert shown[0].resets_at is None
    assert shown[2].resets_at == NOW + timedelta(seconds=2.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_limits_that_change_do_not_pile_up(sign: int) -> None:
    """The eight that were shown last are kept, whether they grow or shrink; a header without a number says nothing."""
    log = LimitLog()
    for number in range(24):
        log.note("GET /x/", RateLimit(limit=1000 + sign * number), now=NOW + timedelta(seconds=number))
    log.note("GET /x/", RateLimit(remaining=4, reset=1), now=NOW)
    shown = log.read()["GET /x/"].shown
    assert [one.limit for one in shown] == sorted(1000 + sign * number for number in range(16, 24))


def test_an_end_beyond_all_calendars_is_none() -> None:
    """The other numbers are shown all the same."""
    log = LimitLog()
    log.note(READS, RateLimit(limit=10, remaining=3, reset=1e15), now=NOW)
    (shown,) = log.read()[READS].shown
    assert (shown.limit, shown.remaining, shown.resets_at) == (10, 3, None)


def test_what_is_known_of_a_group_says_which_one() -> None:
    """By its name; where nothing more is known, there is no limit, no 429 and no stop."""
    log = LimitLog()
    log.note("GET /x/", RateLimit(limit=160), now=NOW)
    assert log.read()["GET /x/"].group == "GET /x/"
    assert attrs.astuple(GroupLimits(group="GET /x/")) == ("GET /x/", (), 0, None)
    assert ShownLimit(limit=1.0, remaining=None, resets_at=None, seen_at=NOW).scope is None
