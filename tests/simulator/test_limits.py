"""Rate limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.simulator import Limits
from closebulk_async.simulator.limits import Bucket

from .api import basic

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

    from .api import Api

LIST = "/bulk_action/email/"
TOKEN = {"authorization": "Bearer token"}


async def test_no_limits_by_default(api: Api) -> None:
    """Without limits no header speaks of any."""
    assert not [name for name in (await api.get("/me/")).headers if "limit" in name.lower()]


async def test_headers_count_down(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Each answer shows the window's limit, what remains of it and the decimal seconds to its end, errors included."""
    sim.limits = Limits(rate=20)
    await clock.sleep(1.25)
    assert (await api.get(LIST)).headers["ratelimit"] == "limit=160; remaining=159; reset=7.75"
    await clock.sleep(0.5)
    assert (await api.get(f"{LIST}nothing/")).headers["ratelimit"] == "limit=160; remaining=158; reset=7.25"


async def test_the_documented_spelling(api: Api, sim: Simulator) -> None:
    """With commas the header is spelled as in the documentation."""
    sim.limits = Limits(rate=20, window=5, spelling="commas")
    assert (await api.get(LIST)).headers["RateLimit"] == "limit=100, remaining=99, reset=5"


async def test_too_many_requests(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Beyond the limit there is a 429 without a body; after the reset that it names the next request passes."""
    sim.limits = Limits(rate=1, window=2)
    await clock.sleep(0.5)
    for _ in range(2):
        assert (await api.get(LIST)).status == 200
    reply = await api.create()
    assert reply.status == 200, "another method is another group"
    reply = await api.get(LIST)
    assert (reply.status, reply.body) == (429, b"")
    assert reply.headers["ratelimit"] == "limit=2; remaining=0; reset=1.5"
    assert reply.headers["retry-after"] == "2"
    await clock.sleep(1.5)
    assert (await api.get(LIST)).status == 200
    assert [request.status for request in sim.requests] == [200, 200, 200, 429, 200]


async def test_429s_without_a_limit_header(api: Api, sim: Simulator) -> None:
    """With `spelling=None` only `retry-after` is left; the old JSON body can be had too."""
    sim.limits = Limits(rate=0.5, window=2, spelling=None, with_body=True)
    assert "ratelimit" not in (await api.get(LIST)).headers
    reply = await api.get(LIST)
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    error = reply.error()
    assert isinstance(error, dict)
    assert error["rate_reset"] == 2.0


async def test_a_refused_post_starts_nothing(api: Api, sim: Simulator) -> None:
    """A 429 means that the request was not processed."""
    sim.limits = Limits(rate=0.5, window=2)
    assert (await api.create()).status == 200
    assert (await api.create()).status == 429
    assert len(sim.jobs) == 1


async def test_groups_are_apart(api: Api, sim: Simulator) -> None:
    """Each kind and method has its own bucket, an item shares that of its list, a group may have a rate of its own."""
    sim.limits = Limits(rate=1, window=1, rates={"GET /bulk_action/edit/": 2})
    job_id = await api.start()
    assert (await api.get(f"{LIST}{job_id}/")).status == 200
    assert (await api.get(LIST)).status == 429
    assert (await api.get("/bulk_action/delete/")).status == 200
    assert [(await api.get("/bulk_action/edit/")).status for _ in range(3)] == [200, 200, 429]


async def test_the_organization_has_three_times_as_much(api: Api, sim: Simulator) -> None:
    """Keys share the organization's bucket, and the header shows the bucket that is closest to being hit."""
    sim.limits = Limits(rate=2, window=2, organization_factor=1.5)
    remaining = []
    for headers in (TOKEN, basic(sim.api_key), TOKEN, TOKEN, basic(sim.api_key), TOKEN, basic(sim.api_key)):
        reply = await api.call("GET", LIST, headers=headers)
        remaining.append((reply.status, reply.headers["ratelimit"].partition("; reset")[0]))
    assert remaining == [
        (200, "limit=4; remaining=3"),
        (200, "limit=4; remaining=3"),
        (200, "limit=4; remaining=2"),
        (200, "limit=4; remaining=1"),
        (200, "limit=6; remaining=1"),
        (200, "limit=4; remaining=0"),
        (429, "limit=6; remaining=0"),
    ]


async def test_wrong_keys_are_counted_too(api: Api, sim: Simulator) -> None:
    """Who keeps coming with a wrong key gets 429s, and takes nothing from the organization."""
    sim.limits = Limits(rate=1, window=1, organization_factor=1)
    wrong = basic("api_wrong")
    assert [(await api.call("GET", LIST, headers=wrong)).status for _ in range(2)] == [401, 429]
    assert (await api.get(LIST)).status == 200


async def test_other_limits_start_afresh(api: Api, sim: Simulator) -> None:
    """Setting other limits fills all buckets."""
    sim.limits = Limits(rate=1, window=1)
    assert [(await api.get(LIST)).status for _ in range(2)] == [200, 429]
    sim.limits = Limits(rate=1, window=1, burst=2)
    assert [(await api.get(LIST)).status for _ in range(3)] == [200, 200, 429]


def test_a_bucket_refills_in_whole_windows() -> None:
    """Nothing is added within a window, and never more than the capacity."""
    bucket = Bucket(rate=2, burst=1.5, window=5, since=100)
    assert bucket.capacity == 15
    bucket.tokens = 0
    bucket.refill(104.999)
    assert (bucket.tokens, bucket.left(104.999)) == (0, 0.001)
    bucket.refill(105)
    assert (bucket.tokens, bucket.since) == (10, 105)
    bucket.refill(1000)
    assert bucket.tokens == 15


@given(since=st.integers(0, 2 * 10**9), passed=st.integers(0, 8 * 10**6 - 1), window=st.integers(1, 8))
def test_who_waits_for_the_reset_is_not_too_early(since: int, passed: int, window: int) -> None:
    """After the seconds that a bucket names a new window has begun; its clock counts microseconds."""
    bucket = Bucket(rate=1, burst=1, window=window, since=since)
    now = since + passed / 1e6
    bucket.refill(now)
    left, began = bucket.left(now), bucket.since
    assert 0 < left <= window
    # A clock of microseconds, rounding down at worst.
    bucket.refill(math.floor((now + left) * 1e6) / 1e6 + 1e-6)
    assert bucket.since > began


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"burst": 0}, {"window": 0}, {"organization_factor": 0}])
def test_limits_that_let_nothing_pass(wrong: dict[str, float]) -> None:
    """A limit of nothing is refused."""
    with pytest.raises(ValueError, match=re.escape(next(iter(wrong)))):
        Limits(**wrong)  # type: ignore[arg-type]  # wrong on purpose
