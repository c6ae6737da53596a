"""The receiver for aiohttp.web: it hands on what is genuine, answers at once, and tells strangers nothing."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from closebulk_async import InvalidRequestError, JobRef, webhooks
from closebulk_async.models import Kind
from closebulk_async.testing import FakeClock
from closebulk_async.webhook_models import WebhookEvent
from tests.letters import EVENT, KEY, OTHER_KEY, SIGNED_AT, sign, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager


PATH = "/close/webhook"


@attrs.frozen
class Ear:
    """Keeps what it is told, as a client would take it."""

    heard: list[WebhookEvent] = attrs.field(factory=list)

    def notify(self, event: WebhookEvent) -> None:
        """Keep one event."""
        self.heard.append(event)


@attrs.frozen
class Office:
    """A receiver that is being served, and a sender."""

    session: aiohttp.ClientSession
    port: int
    ear: Ear

    async def post(
        self, body: bytes | AsyncIterator[bytes], headers: Mapping[str, str] | None = None, *, path: str = PATH
    ) -> tuple[int, bytes]:
        """Status and body of the answer; signed, unless `headers` are given."""
        signed = sign(body) if headers is None and isinstance(body, bytes) else headers
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.post(url, data=body, headers=signed) as answer:
            return answer.status, await answer.read()

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which a test says what no HTTP client would."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def head(self, header: str) -> bytes:
        """Request line and headers of a delivery of which no body was sent yet."""
        return f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n".encode()

    @property
    def heard(self) -> list[str]:
        """The ids of the events that were handed on."""
        return [event.id for event in self.ear.heard]


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Office]:
    """Serve an application with the route on a socket."""
    ear = Ear()
    app = web.Application(client_max_size=options.pop("client_max_size", 1024**2))
    webhooks.setup(app, ear, **{"signature_key": KEY, **options})
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Office(session, runner.addresses[0][1], ear)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_genuine_event_is_handed_on() -> None:
    """And answered with 200 and nothing in it."""
    async with receiving() as office:
        assert await office.post(write()) == (200, b"")
    (event,) = office.ear.heard
    assert (event.id, event.ref, event.is_rest) == (EVENT["id"], JobRef(Kind.EMAIL, "bulkemail_1"), True)


async def test_events_of_other_objects_are_taken_too() -> None:
    """A subscription may have several purposes; what is no bulk action is for `on_event`, and is not sent again."""
    async with receiving() as office:
        assert (await office.post(write(object_type="lead", object_id="lead_1")))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"close-sig-hash": "0" * 64},
        sign(write(), key=OTHER_KEY),
        {**sign(write()), "close-sig-timestamp": str(SIGNED_AT + 1)},
        {**sign(write()), "close-sig-hash": "é"},
    ],
)
async def test_a_stranger_is_refused_without_a_reason(
    headers: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """401 with nothing in it, nothing handed on; the log says why, and shows no key."""
    caplog.set_level(logging.DEBUG)
    async with receiving() as office:
        assert await office.post(write(), headers) == (401, b"")
    assert office.heard == []
    (warning,) = warnings(caplog)
    assert warning.startswith("refused a webhook: ")
    assert KEY not in "".join(repr(vars(record)) for record in caplog.records)


async def test_what_is_signed_and_no_event_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """It goes nowhere, and each is warned of; an error would bring it back for days."""
    async with receiving() as office:
        for _ in range(2):
            assert await office.post(b'{"event": 7}') == (200, b"")
    assert office.heard == []
    assert [text.split(":")[0] for text in warnings(caplog)] == ["passed over a webhook"] * 2


async def test_an_event_with_an_odd_part_is_handed_on() -> None:
    """What it is about can be read."""
    async with receiving() as office:
        assert await office.post(write(meta=[], data=[], date_created="yesterday")) == (200, b"")
    assert [event.ref for event in office.ear.heard] == [JobRef(Kind.EMAIL, "bulkemail_1")]


async def test_a_flood_of_strangers_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Until somebody is believed again."""
    caplog.set_level(logging.INFO)
    async with receiving() as office:
        for _ in range(20):
            await office.post(write(), {})
        assert len(warnings(caplog)) == 1
        await office.post(write())
        await office.post(write(), {})
    assert len(warnings(caplog)) == 2
    assert len([record for record in caplog.records if record.name == "closebulk_async"]) == 21


async def test_other_methods_and_paths_are_not_served() -> None:
    """One route and one method, where the caller wants it."""
    async with receiving(path="/hooks") as office:
        assert (await office.post(write()))[0] == 404
        assert (await office.post(write(), path="/hooks"))[0] == 200
        async with office.session.get(f"http://127.0.0.1:{office.port}/hooks") as answer:
            assert answer.status == 405


async def test_each_of_several_keys_is_believed() -> None:
    """While one subscription replaces another."""
    async with receiving(signature_key=(KEY, OTHER_KEY)) as office:
        for key in (KEY, OTHER_KEY):
            assert (await office.post(write(), sign(write(), key=key)))[0] == 200


BAD_KEYS: list[Any] = ["", None, "no key", []]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_receiver_without_a_key_is_not_set_up(key: str) -> None:
    """The mistake shows when the program starts, not at the first event."""
    app = web.Application()
    with pytest.raises(InvalidRequestError, match="signature_key"):
        webhooks.setup(app, Ear(), signature_key=key)
    assert not [*app.router.routes()]


def test_a_tolerance_that_is_none_shows_at_once() -> None:
    """As a key does."""
    with pytest.raises(InvalidRequestError, match="tolerance"):
        webhooks.setup(web.Application(), Ear(), signature_key=KEY, tolerance=-1)


@pytest.mark.parametrize(("late", "status"), [(0, 200), (300, 200), (301, 401), (-301, 401)])
async def test_tolerance_is_by_the_clock(late: int, status: int) -> None:
    """Which a test may set."""
    clock = FakeClock(datetime.fromtimestamp(SIGNED_AT + late, UTC))
    async with receiving(tolerance=timedelta(minutes=5), clock=clock) as office:
        assert (await office.post(write()))[0] == status


async def test_age_does_not_matter_by_default() -> None:
    """The service goes on trying for three days, and this was signed years ago."""
    async with receiving() as office:
        assert (await office.post(write()))[0] == 200


# Size and time ---------------------------------------------------------------------------------------------------


async def in_pieces(body: bytes, *, of: int) -> AsyncIterator[bytes]:
    """A body that is sent in chunks, without its length."""
    for at in range(0, len(body), of):
        yield body[at : at + of]


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    """Whatever the application itself would take; nothing of the body is waited for."""
    async with receiving(client_max_size=0) as office, office.speaking() as (reader, writer):
        writer.write(office.head(f"Content-Length: {webhooks.MAX_BODY + 1}"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_grows_too_large_is_refused() -> None:
    """Also where its length was not told."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with receiving(client_max_size=0) as office, office.speaking() as (reader, writer):
        writer.write(office.head("Transfer-Encoding: chunked"))
        for _ in range(webhooks.MAX_BODY // 0x10000 + 1):
            writer.write(chunk)
            await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    assert office.heard == []


async def test_an_event_larger_than_what_aiohttp_takes_by_default_is_heard() -> None:
    """An action's query may list thousands of leads."""
    body = write(padding="x" * 3 * 1024**2)
    async with receiving() as office:
        assert (await office.post(in_pieces(body, of=100_000), sign(body)))[0] == 200


async def test_a_body_in_pieces_is_whole() -> None:
    """Chunks are put together before the signature is checked."""
    body = write()
    async with receiving() as office:
        assert await office.post(in_pieces(body, of=50), sign(body)) == (200, b"")


class NoticingClock(FakeClock):
    """Tells when somebody begins to wait for the outside."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Bound one exchange."""
        self.waits.set()
        return super().timeout(seconds)


async def test_who_takes_too_long_is_sent_away() -> None:
    """A body that does not end holds no connection for ever."""
    clock = NoticingClock()
    async with receiving(clock=clock) as office, office.speaking() as (reader, writer):
        writer.write(office.head("Content-Length: 100") + b"{")
        await clock.waits.wait()
        with clock.hold():  # the sender waits on purpose, so that time may pass
            assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
    assert clock.monotonic() == webhooks.BODY_SECONDS
    assert office.heard == []


# The application's own use ---------------------------------------------------------------------------------------


async def test_on_event_is_told_of_each_event_after_the_client() -> None:
    """Of all objects, and again when one is sent again."""
    told: list[tuple[str, int]] = []

    async def on_event(event: WebhookEvent) -> None:
        await asyncio.sleep(0)
        told.append((event.object_type, len(office.ear.heard)))

    async with receiving(on_event=on_event) as office:
        for object_type in ("bulk_action.email", "lead", "lead"):
            await office.post(write(object_type=object_type))
        await office.post(write(), {})
    assert told == [("bulk_action.email", 1), ("lead", 2), ("lead", 3)]


async def test_an_event_whose_use_fails_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """500 makes the service repeat it; the client was told all the same, and the next event finds the route well."""
    failures = iter([ZeroDivisionError("by on_event")])

    async def on_event(_: WebhookEvent) -> None:
        for failure in failures:
            raise failure

    async with receiving(on_event=on_event) as office:
        assert (await office.post(write()))[0] == 500
        assert (await office.post(write()))[0] == 200
    assert office.heard == [EVENT["id"]] * 2
    assert "by on_event" in caplog.text
    assert KEY not in caplog.text


async def test_nothing_shows_the_key_of_a_route() -> None:
    """Neither the handler's repr nor that of its route."""
    app = web.Application()
    webhooks.setup(app, Ear(), signature_key=KEY)
    for route in app.router.routes():
        assert KEY not in f"{route!r} {route.handler!r} {vars(route)!r}"
