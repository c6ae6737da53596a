"""`CloseBulk` itself: what it takes, what it opens, what it leaves alone, and when it is closed."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from closebulk_async import (
    ApiKey,
    AuthenticationError,
    BadRequestError,
    BearerToken,
    ClientClosedError,
    CloseBulk,
    CloseBulkError,
    InvalidRequestError,
    RetryPolicy,
    SystemClock,
    Timeouts,
)
from closebulk_async.simulator import Simulator, faults
from tests.peers import Peer, answer_well, connect, start_email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from closebulk_async.testing import FakeClock


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A server that counts its connections."""
    async with Peer() as server:
        yield server


async def get(close: CloseBulk) -> object:
    """Read an action."""
    return await close.get("email:bulkemail_1")


async def list_(close: CloseBulk) -> object:
    """Read a page."""
    return await close.deletes.list()


async def iterate(close: CloseBulk) -> object:
    """Read all pages."""
    return [row async for row in close.edits.iterate()]


async def pause(close: CloseBulk) -> object:
    """Pause an action."""
    return await close.pause("email:bulkemail_1")


async def wait(close: CloseBulk) -> object:
    """Wait for an action."""
    return await close.wait_until_done("email:bulkemail_1")


EVERYTHING = (get, list_, iterate, pause, start_email, wait)


# Who and where to ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("in_env", [None, "", "  \n"])
def test_no_key(monkeypatch: pytest.MonkeyPatch, key: str | None, in_env: str | None) -> None:
    """The constructor says so and names the variable; there was no request, and so there is no status."""
    if in_env is None:
        monkeypatch.delenv("CLOSE_API_KEY", raising=False)
    else:
        monkeypatch.setenv("CLOSE_API_KEY", in_env)
    for make in (CloseBulk, CloseBulk.from_env):
        with pytest.raises(AuthenticationError, match="CLOSE_API_KEY") as caught:
            make(key)
        assert caught.value.status is None


def test_an_empty_key_does_not_fall_back_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever passes one, if by mistake, does not mean another organization's."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_env")
    with pytest.raises(AuthenticationError):
        CloseBulk("")


async def test_the_key_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, sim: Simulator, clock: FakeClock
) -> None:
    """White space around it is no part of it; of the rest of the environment nothing is read."""
    monkeypatch.setenv("CLOSE_API_KEY", f" {sim.api_key}\n")
    monkeypatch.setenv("CLOSE_BASE_URL", "https://elsewhere.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with CloseBulk(base_url=sim.base_url, clock=clock) as close:
        await close.emails.list()
    assert len(sim.requests) == 1


async def test_from_env_reads_the_base_url_too(
    monkeypatch: pytest.MonkeyPatch, sim: Simulator, clock: FakeClock
) -> None:
    """With its keywords going first."""
    monkeypatch.setenv("CLOSE_API_KEY", sim.api_key)
    monkeypatch.setenv("CLOSE_BASE_URL", sim.base_url)
    async with CloseBulk.from_env(clock=clock, user_agent="mine") as close:
        await close.emails.list()
    assert sim.requests[0].headers["user-agent"] == "mine"
    monkeypatch.setenv("CLOSE_BASE_URL", "https://elsewhere.invalid")
    async with CloseBulk.from_env(sim.api_key, base_url=sim.base_url, clock=clock) as close:
        await close.emails.list()
    assert len(sim.requests) == 2


@pytest.mark.parametrize("url", [None, ""])
def test_without_a_base_url_it_is_the_service(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """An empty variable is none."""
    monkeypatch.setenv("CLOSE_BASE_URL", url or "")
    assert repr(CloseBulk.from_env("k")) == "CloseBulk(base_url='https://api.close.com/api/v1')"
    assert repr(CloseBulk("k")) == "CloseBulk(base_url='https://api.close.com/api/v1')"


def test_a_key_and_an_auth_contradict_each_other() -> None:
    """One of them is a mistake."""
    with pytest.raises(InvalidRequestError, match="pass one of them"):
        CloseBulk("k", auth=BearerToken("t"))


async def test_an_auth_stands_in_for_the_key(monkeypatch: pytest.MonkeyPatch, peer: Peer, clock: FakeClock) -> None:
    """Also where the environment has a key."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_env")
    async with connect(peer, clock, api_key=None, auth=ApiKey("yourapikey")) as close:
        await close.emails.list()
    assert peer.seen[0].headers["authorization"] == "Basic eW91cmFwaWtleTo="


@pytest.mark.parametrize(
    "url",
    [
        "https://api.close.com/api/v1",
        "https://api.close.com/api/v1/",
        "https://example.com:8443",
        "http://127.0.0.1:8080/api/v1",
        "http://127.8.9.1",
        "http://[::1]:8080/",
        "http://localhost",
        "HTTP://LOCALHOST:1",
    ],
)
def test_base_urls_that_serve(url: str) -> None:
    """HTTPS to anywhere, plain HTTP to this machine; a slash at the end makes no difference."""
    assert repr(CloseBulk("k", base_url=url)) == f"CloseBulk(base_url={url.rstrip('/')!r})"


UNENCRYPTED = [
    "http://api.close.com/api/v1",
    "http://10.0.0.1",
    "http://localhost.example.com",
    "http://0.0.0.0",
    "http://127.0.0.1.example.com",
    "http://[2001:db8::1]",
    "http://localhost.",
]
NO_BASE_URLS: list[Any] = [
    "",
    "api.close.com",
    "ftp://127.0.0.1",
    "https://",
    "https:///x",
    "https://x/?a=1",
    "https://x/#a",
    "https://x:port",
    "https://x:70000",
    "https://x:0",
    "https://[::1",
    "//x",
    "https://x/api#",
    "https://x/api?",
    "https://x y",
    "https://x/\n",
    "https://\tx",
    None,
    b"https://x",
    7,
]


@pytest.mark.parametrize("url", UNENCRYPTED)
def test_a_key_does_not_go_unencrypted(url: str) -> None:
    """Over plain HTTP to another machine, anybody in between could read it."""
    with pytest.raises(InvalidRequestError, match="not encrypted"):
        CloseBulk("k", base_url=url)


@pytest.mark.parametrize("url", NO_BASE_URLS)
def test_base_urls_that_are_none(url: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(InvalidRequestError, match="base_url must be like https"):
        CloseBulk("k", base_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pa55@x.example/v1",
        "https://pa55@x.example",
        "https://:pa55@x.example/?q",
        "ftp://me:pa55@x",
        "https://me:pa55@[x",
    ],
)
def test_a_base_url_holds_no_credentials(url: str) -> None:
    """They are refused, and not shown."""
    with pytest.raises(InvalidRequestError, match="pass api_key or auth") as caught:
        CloseBulk("k", base_url=url)
    assert "pa55" not in str(caught.value)


BAD_SETTINGS: list[tuple[str, Any]] = [
    ("tz_offset", float("nan")),
    ("tz_offset", float("inf")),
    ("tz_offset", "5"),
    ("tz_offset", True),
    ("user_agent", "a\r\nx: y"),
    ("user_agent", "é"),
    ("user_agent", b"x"),
]


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS)
def test_what_cannot_stand_in_a_header_is_refused(name: str, value: object) -> None:
    """In the constructor, and by name."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(InvalidRequestError, match=name):
        CloseBulk("k", **options)


def test_the_constructor_needs_no_loop_and_opens_nothing() -> None:
    """A client may be made at import time; one that is never entered warns of nothing."""
    close = CloseBulk("k", timeouts=Timeouts(total=5), retry=RetryPolicy(attempts=1), clock=SystemClock())
    assert "k'" not in repr(close)


# Open and closed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", EVERYTHING)
async def test_outside_of_the_block(
    sim: Simulator, clock: FakeClock, operation: Callable[[CloseBulk], Awaitable[object]]
) -> None:
    """Before it and after it every request raises ClientClosedError, at once and without a request."""
    close = connect(sim, clock)
    with pytest.raises(ClientClosedError, match="async with"):
        await operation(close)
    async with close:
        pass
    with pytest.raises(ClientClosedError):
        await operation(close)
    assert sim.requests == ()
    assert clock.monotonic() == 0


async def test_closing_twice_is_closing(sim: Simulator, clock: FakeClock) -> None:
    """At the end of the block, by hand, and both at once."""
    close = connect(sim, clock)
    async with close:
        await close.emails.list()
        await asyncio.gather(close.aclose(), close.aclose())
    await close.aclose()


async def test_a_client_that_was_never_opened_can_be_closed(sim: Simulator, clock: FakeClock) -> None:
    """There is nothing to close."""
    await connect(sim, clock).aclose()


async def test_a_closed_client_stays_closed(sim: Simulator, clock: FakeClock) -> None:
    """To enter it again raises: its waits have ended for good."""
    close = connect(sim, clock)
    async with close:
        pass
    with pytest.raises(ClientClosedError, match="make a new one"):
        await close.__aenter__()


async def test_no_connection_before_the_first_request(peer: Peer, clock: FakeClock) -> None:
    """And none of its own after the block."""
    async with connect(peer, clock) as close:
        assert peer.open_connections == 0
        await close.emails.list()
        await start_email(close)
        assert peer.open_connections >= 1
    for _ in range(100):  # the server hears of it some turns of the loop later
        await asyncio.sleep(0)
    assert peer.open_connections == 0


async def test_an_error_in_the_block_goes_on(peer: Peer, clock: FakeClock) -> None:
    """The client closes, and hides nothing."""
    with pytest.raises(ZeroDivisionError):
        async with connect(peer, clock) as close:
            await close.emails.list()
            raise ZeroDivisionError
    with pytest.raises(ClientClosedError):
        await close.emails.list()


async def test_a_client_on_the_machines_own_time() -> None:
    """Without a clock of a test it works the same."""
    async with Simulator() as sim, CloseBulk(sim.api_key, base_url=sim.base_url) as close:
        sim.next_job(duration=0)
        assert (await close.wait_until_done(await start_email(close))).is_done


# The caller's session --------------------------------------------------------------------------------------------


async def test_the_callers_session_is_used_and_left_open(peer: Peer, clock: FakeClock) -> None:
    """Its own headers go along, the client's win, and closing the client does not close it."""
    headers = {"x-mine": "yes", "authorization": "Basic mine", "user-agent": "mine"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(2):
            async with connect(peer, clock, session=session) as close:
                await close.emails.list()
                await start_email(close)
            assert not session.closed
    assert {seen.headers["x-mine"] for seen in peer.seen} == {"yes"}
    assert {seen.headers["authorization"] for seen in peer.seen} == {ApiKey(peer.api_key).header()}
    assert len(peer.seen) == 6


async def test_the_callers_session_may_raise_for_status(sim: Simulator, clock: FakeClock) -> None:
    """The client judges statuses itself: a refused create is refused and not in doubt, a 5xx is asked again."""
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        connect(sim, clock, session=session) as close,
    ):
        sim.fail_next(faults.invalid_fields({"template_id": "Object does not exist."}))
        with pytest.raises(BadRequestError, match="template_id"):
            await start_email(close)
        sim.fail_next(faults.server_error())
        await close.emails.list()
    assert len(sim.requests) == 3


@pytest.mark.parametrize("operation", EVERYTHING)
async def test_a_callers_session_that_is_closed(
    peer: Peer, clock: FakeClock, operation: Callable[[CloseBulk], Awaitable[object]]
) -> None:
    """ClientClosedError says whose it is."""
    async with aiohttp.ClientSession() as session:
        pass
    async with connect(peer, clock, session=session) as close:
        with pytest.raises(ClientClosedError, match="session that this client was given"):
            await operation(close)
    assert peer.seen == []


async def test_a_session_with_an_auth_of_its_own_is_refused() -> None:
    """A request takes either that or a header, says aiohttp."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp 3.14 deprecates both
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me"))
    async with session:
        with pytest.raises(InvalidRequestError, match="auth of its own"):
            CloseBulk("k", session=session)


async def test_cookies_are_not_kept(peer: Peer, clock: FakeClock) -> None:
    """A client's own session has no memory: requests depend on nothing but their values."""

    def with_cookie(request: web.BaseRequest) -> web.Response:
        answer = answer_well(request)
        answer.set_cookie("seen", "1")
        return answer

    peer.answer = with_cookie
    # By name: aiohttp's jar takes no cookies from bare addresses anyway.
    base_url = peer.base_url.replace("127.0.0.1", "localhost")
    async with connect(peer, clock, base_url=base_url) as close:
        await close.emails.list()
        await close.emails.list()
        await start_email(close)
    assert [seen.headers.get("cookie") for seen in peer.seen] == [None] * 4


async def test_two_clients_share_nothing(sim: Simulator, clock: FakeClock) -> None:
    """Closing one leaves the other as it is."""
    async with connect(sim, clock) as one:
        async with connect(sim, clock) as other:
            await other.emails.list()
        await one.emails.list()
        with pytest.raises(CloseBulkError):
            await other.emails.list()


def test_a_key_of_the_environment_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever passed nothing learns where the value came from, and does not see it."""
    monkeypatch.setenv("CLOSE_API_KEY", "clé-secrète")
    with pytest.raises(InvalidRequestError, match="CLOSE_API_KEY") as caught:
        CloseBulk()
    assert "secrète" not in str(caught.value)


async def test_an_option_that_a_wait_does_not_have(sim: Simulator, clock: FakeClock) -> None:
    """A misspelt keyword is a TypeError that names the method which was called."""
    async with connect(sim, clock) as close:
        with pytest.raises(TypeError, match=r"wait_until_done\(\) got .* 'timout'"):
            close.wait_until_done("email:bulkemail_1", timout=5)  # type: ignore[call-overload]  # wrong on purpose
