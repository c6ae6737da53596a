"""What is sent and read, over which connections, and where redirects lead."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    BulkEmail,
    ClientClosedError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    RetryPolicy,
    Timeouts,
    TransportError,
    __version__,
)
from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import ACME, NotingClock, Peer, answer_well, connect, methods
from tests.wire.operations import ALL, METHODS, Operation, list_, pause, start

# Redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_read_follows_a_redirect_within_the_origin(close: CloseBulk, sim: Simulator, status: int) -> None:
    """Relative or whole, the target gets the same headers and its answer counts."""
    path = "/api/v1/bulk_action/email/bulkemail_1/"
    for location in (path, f"{sim.base_url}/bulk_action/email/bulkemail_1/"):
        sim.fail_next(faults.redirect(location, status=status))
        assert (await close.emails.get("elsewhere")).id == "bulkemail_1"
    assert [request.path for request in sim.requests][1::2] == [path, path]
    assert len({request.headers["authorization"] for request in sim.requests}) == 1


async def test_a_chain_of_redirects_ends(close: CloseBulk, sim: Simulator) -> None:
    """Three are followed; a fourth is an answer that tells nothing, and is asked for again."""
    sim.fail_next(faults.redirect("/api/v1/bulk_action/email/"), times=3)
    await list_(close)
    assert len(sim.requests) == 4
    sim.fail_next(faults.redirect("/api/v1/bulk_action/email/"), times=None)
    with pytest.raises(APIError, match="302 Found"):
        await list_(close)
    assert len(sim.requests) == 4 + 5 * 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ALL)
async def test_nothing_goes_to_another_origin(
    sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """Another port is another server: it gets neither the key nor the request, and its answer is not believed."""
    async with Peer() as peer:
        elsewhere = faults.redirect(f"{peer.base_url}/bulk_action/email/", status=status)
        sim.fail_next(elsewhere, times=None, method=METHODS[operation])
        async with connect(sim, clock, retry=RetryPolicy(attempts=2)) as close:
            with pytest.raises(CloseBulkError):
                await operation(close)
    assert peer.seen == []


@pytest.mark.parametrize("location", ["//evil.example/x", "http://[", "ftp://127.0.0.1/", "mailto:x", "", "https://"])
async def test_odd_locations_are_not_followed(sim: Simulator, clock: NotingClock, location: str) -> None:
    """A location that leads out of the origin, or nowhere, leaves the redirect as the answer."""
    sim.fail_next(faults.redirect(location), times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(APIError, match="302 Found"):
            await list_(close)
    assert len(sim.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", [start, pause])
async def test_a_body_is_never_redirected(
    sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """A redirected POST may lose its body, so that neither it nor a PUT follows, not even within the host."""
    target = "/api/v1/bulk_action/email/bulkemail_1/"
    sim.fail_next(faults.redirect(target, status=status), method="POST", times=None)
    sim.fail_next(faults.redirect(target, status=status), method="PUT", times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(CloseBulkError, match=f"answered with {status}"):
            await operation(close)
    assert len(methods(sim)) - methods(sim).count("GET") == 1
    assert len(sim.jobs) == 1


# What is sent --------------------------------------------------------------------------------------------------------


async def do_everything(close: CloseBulk) -> None:
    """One request of each shape."""
    action = await start(close)
    await close.emails.list(limit=5, skip=1, fields=["id", "status"], template_id="tmpl_1")
    await close.emails.get(action, fields=["sender"])
    await close.emails.pause(action)
    await close.emails.resume(action)


async def test_every_path_ends_with_a_slash(close: CloseBulk, sim: Simulator) -> None:
    """Without it the service redirects, and a redirected POST may lose its body."""
    await do_everything(close)
    assert [request.path for request in sim.requests if not request.path.endswith("/")] == []
    assert len(sim.requests) == 6


async def test_bodies_are_json_of_a_known_length(close: CloseBulk, sim: Simulator) -> None:
    """The service takes no chunked bodies, and only this content type; a read has no body at all."""
    await do_everything(close)
    for request in sim.requests:
        assert "transfer-encoding" not in request.headers
        if request.method == "GET":
            assert (request.body, request.headers.get("content-type")) == (b"", None)
        else:
            assert request.headers["content-type"] == "application/json"
            assert request.headers["content-length"] == str(len(request.body))


async def test_large_bodies_are_not_chunked(clock: NotingClock) -> None:
    """Neither is one of more than a megabyte, and no warning comes with it."""
    ids = ["lead_" + "x" * 40] * 25_000
    async with Peer() as peer, connect(peer, clock) as close:
        await close.emails.create(template_id="tmpl_1", email_account_id="e_1", s_query=ACME, extra={"ids": ids})
    seen = peer.seen[-1]
    assert len(seen.body) > 1_100_000
    assert seen.headers["content-length"] == str(len(seen.body))
    assert "transfer-encoding" not in seen.headers


async def test_the_query_is_spelled_as_the_service_reads_it(close: CloseBulk, sim: Simulator) -> None:
    """`_fields` is one comma list; what always comes stands in front."""
    await close.emails.list(limit=5, skip=1, fields=["sender", "id"], template_id="tmpl/ä?&=")
    assert dict(sim.requests[0].query) == {
        "_limit": "5",
        "_skip": "1",
        "template_id": "tmpl/ä?&=",
        "_fields": "id,status,n_leads,n_leads_processed,n_objects,n_objects_processed,sender",
    }


@pytest.mark.parametrize(
    ("hours", "header"), [(0, "0"), (0.0, "0"), (5.5, "5.5"), (-4, "-4"), (-2.5, "-2.5"), (14, "14")]
)
async def test_the_offset_is_sent_when_set(sim: Simulator, clock: NotingClock, hours: float, header: str) -> None:
    """Hours from UTC, of which 0 is a legal number."""
    async with connect(sim, clock, tz_offset=hours) as close:
        await do_everything(close)
    assert {request.headers["x-tz-offset"] for request in sim.requests} == {header}


async def test_the_offset_is_left_out_when_not_set(close: CloseBulk, sim: Simulator) -> None:
    """Then the service goes by its own idea of the day."""
    await do_everything(close)
    assert all("x-tz-offset" not in request.headers for request in sim.requests)


async def test_the_client_says_who_it_is(sim: Simulator, clock: NotingClock) -> None:
    """By default name and version of this package, else what the caller wants."""
    for options, expected in (({}, f"closebulk-async/{__version__}"), ({"user_agent": "mine/1 (x)"}, "mine/1 (x)")):
        async with connect(sim, clock, **options) as close:
            await list_(close)
        assert sim.requests[-1].headers["user-agent"] == expected


# What is read --------------------------------------------------------------------------------------------------------


async def test_compressed_answers_are_asked_for_and_read(clock: NotingClock) -> None:
    """The client accepts gzip and gets the same page as without."""
    page = b'{"data": [], "has_more": false}'

    def compress(request: web.BaseRequest) -> web.Response:
        assert "gzip" in request.headers["accept-encoding"]
        return web.Response(body=gzip.compress(page), headers={"content-encoding": "gzip"})

    async with Peer(compress) as peer, connect(peer, clock) as close:
        assert (await close.emails.list()).data == []


@pytest.mark.parametrize("compressed", [True, False])
async def test_the_simulator_compresses_or_not(close: CloseBulk, sim: Simulator, *, compressed: bool) -> None:
    """A page of 100 is read either way."""
    sim.gzip = compressed
    for _ in range(100):
        sim.add_job("email")
    assert len((await close.emails.list()).data) == 100


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("compressed", [True, False])
async def test_a_body_beyond_the_cap_is_not_read(sim: Simulator, clock: NotingClock, *, compressed: bool) -> None:
    """32 MiB are the end, also of what is small on the wire; a create is in doubt then."""
    sim.gzip = compressed
    sim.fail_next(faults.huge_body(33 * MEBIBYTE), method="GET")
    sim.fail_next(faults.huge_body(33 * MEBIBYTE), method="POST")
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(TransportError, match="larger than 33554432 bytes"):
            await list_(close)
        with pytest.raises(AmbiguousStartError, match="larger than 33554432 bytes"):
            await start(close)
    assert methods(sim) == ["GET", "GET", "POST"]


async def test_a_body_below_the_cap_is_read(close: CloseBulk, sim: Simulator) -> None:
    """31 MiB of white space in front of a page are odd and harmless."""
    sim.fail_next(faults.huge_body(31 * MEBIBYTE))
    assert len((await close.emails.list()).data) == 1


async def test_a_misfit_shows_the_first_200_characters(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """DecodeError says which request, which status, and how the body begins."""
    sim.fail_next(faults.reply(200, "<html>" + "x" * 1000, content_type="text/html"), times=None)
    with pytest.raises(DecodeError, match=r"GET /bulk_action/email/ answered 200 .* <html>xxx") as caught:
        await list_(close)
    assert (caught.value.status, caught.value.request) == (200, "GET /bulk_action/email/")
    assert len(caught.value.body) == 200
    assert len(str(caught.value)) < 400


# Connections ---------------------------------------------------------------------------------------------------------


async def test_reads_share_a_connection_and_starts_have_their_own(clock: NotingClock) -> None:
    """A pooled connection may just be closing on the server's side; then nobody knows what became of a POST."""
    ids = iter(["bulkemail_1", "bulkemail_2"])

    def answer(request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return answer_well(request)
        return web.Response(body=BulkEmail.example(id=next(ids)).to_json(), content_type="application/json")

    async with Peer(answer) as peer, connect(peer, clock) as close:
        await list_(close)
        first, second = await start(close), await start(close)
        await close.emails.pause(first)
        await close.emails.get(second)
        await list_(close)
    used = {method: [seen.connection for seen in peer.seen if seen.method == method] for method in ("GET", "POST")}
    assert len(set(used["GET"])) == 1
    assert len(used["GET"]) == 5
    assert len(set(used["POST"])) == 2
    assert len({seen.connection for seen in peer.seen}) == 4


async def test_a_connection_that_the_server_dropped_is_replaced(close: CloseBulk, sim: Simulator) -> None:
    """A read after an idle connection was closed comes through, without a second request arriving."""
    await list_(close)
    sim.drop_connections()
    await list_(close)
    assert len(sim.requests) == 2


async def test_closing_ends_a_wait_for_the_rate_limit(sim: Simulator) -> None:
    """Whoever waits for a repeat learns at once that none will come, and nothing is sent. One timer serves all."""
    clock = FakeClock(auto=False)
    sim.fail_next(faults.too_many_requests(retry_after=100), times=None)
    close = connect(sim, clock)
    async with close:
        tasks = [asyncio.ensure_future(operation(close)) for operation in ALL]
        await clock.settle()
        assert clock.sleepers == 1
    for task in tasks:
        with pytest.raises(ClientClosedError):
            await task
    await clock.settle()
    assert clock.sleepers == 0
    assert len(sim.requests) == len(ALL)


async def test_the_system_clock_bounds_an_exchange_too() -> None:
    """On the loop's own time the bound is aiohttp's; here it is a hundredth of a second, and nothing comes at all."""
    async with Simulator() as sim:
        sim.fail_next(faults.hang(), times=None)
        timeouts, retry = Timeouts(total=0.01), RetryPolicy(attempts=1)
        async with CloseBulk(sim.api_key, base_url=sim.base_url, timeouts=timeouts, retry=retry) as close:
            with pytest.raises(TransportError, match=r"no answer within 0\.01 s"):
                await close.emails.list()
        sim.clear_faults()
        sim.fail_next(faults.hang(), times=None, method="POST")
        async with CloseBulk(sim.api_key, base_url=sim.base_url, retry=retry) as close:
            # 0 is a bound as well, and no longer than that of the body: whether it had left is the machine's affair.
            with pytest.raises((AmbiguousStartError, TransportError), match="no answer within 0 s"):
                await start(close, timeout=0)


async def test_closing_ends_a_read_that_is_under_way() -> None:
    """Its connection is closed under it: the error says why, and nothing is asked again."""
    clock = FakeClock(auto=False)
    async with Simulator(clock=clock) as sim:
        sim.fail_next(faults.hang(), times=None)
        async with connect(sim, clock) as close:
            task = asyncio.ensure_future(list_(close))
            await clock.settle()
        with pytest.raises(ClientClosedError, match="closed meanwhile"):
            await task
    assert len(sim.requests) == 1


async def test_a_cancelled_read_leaves_nothing(clock: NotingClock) -> None:
    """Neither a timer nor a connection, also when it waited for a repeat."""
    clock = NotingClock(auto=False)
    async with Simulator(clock=clock) as sim, connect(sim, clock) as close:
        for fault in (faults.hang(), faults.too_many_requests(retry_after=50)):
            sim.fail_next(fault)
            task = asyncio.ensure_future(list_(close))
            await clock.settle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await clock.settle()
            assert clock.sleepers == 0
    assert len(sim.requests) == 2


async def test_each_exchange_has_its_own_time(sim: Simulator, clock: NotingClock) -> None:
    """`Timeouts.total` bounds one exchange and not the repeats."""
    sim.fail_next(faults.hang(), times=2)
    async with connect(sim, clock, timeouts=Timeouts(total=10)) as close:
        await list_(close)
    assert len(sim.requests) == 3
    assert clock.monotonic() == pytest.approx(20 + sum(clock.slept))
