"""A key, a token and what the header makes of them appear nowhere but on the wire."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import pytest
from aiohttp import web

from closebulk_async import ApiKey, Auth, BearerToken, BulkEmail, CloseBulk, CloseBulkError, RetryPolicy
from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import Peer, answer_well, connect, start_email
from tests.wire.operations import EMPTY_LIST

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Fault

KEY = "api_7secret7secret.8secret8secret8"
"""As long as its Basic form needs padding, which is encoded in addresses."""
TOKEN = "tok-9secret.9secret/9secret+9secret"
ENCODED_KEY = base64.b64encode(f"{KEY}:".encode()).decode().rstrip("=")
FORBIDDEN = (KEY, ENCODED_KEY, TOKEN, quote(TOKEN), quote(TOKEN, safe=""), TOKEN.replace("/", "\\/"))
each_auth = pytest.mark.parametrize("auth", [ApiKey(KEY), BearerToken(TOKEN)], ids=["key", "token"])


async def get(close: CloseBulk) -> object:
    """Read an action."""
    return await close.emails.get("bulkemail_1")


async def list_(close: CloseBulk) -> object:
    """Read a page."""
    return await close.emails.list()


async def pause(close: CloseBulk) -> object:
    """Pause an action."""
    return await close.emails.pause("bulkemail_1")


async def wait(close: CloseBulk) -> object:
    """Wait for an action."""
    return await close.emails.wait_until_done("bulkemail_1", timeout=60)


OPERATIONS = (get, list_, pause, start_email, wait)
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


def related(error: BaseException) -> Iterator[BaseException]:
    """The error, and whatever it was raised from or during."""
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (found := waiting.pop()) is not None and id(found) not in seen:
            seen[id(found)] = found
            waiting += [found.__cause__, found.__context__]
    return iter(seen.values())


def everything_said(error: BaseException) -> str:
    """All texts that an error can be shown as, here or in another process."""
    texts = []
    for found in related(error):
        texts += [str(found), repr(found), repr(found.args), repr(vars(found)), *traceback.format_exception(found)]
        if isinstance(found, CloseBulkError):
            pickled = pickle.dumps(found)
            texts += [pickled.decode("latin-1"), repr(vars(pickle.loads(pickled)))]  # noqa: S301 - made right here
    return "\n".join(texts)


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    """Messages, arguments, `extra` and tracebacks of all records of all loggers."""
    formatter = logging.Formatter("%(message)s")
    return "\n".join(f"{formatter.format(record)} {vars(record)!r}" for record in caplog.records)


def leaks(text: str) -> list[str]:
    """The secrets that a text shows."""
    return [secret for secret in FORBIDDEN if secret in text]


async def provoke(close: CloseBulk, operation: Callable[[CloseBulk], Awaitable[object]]) -> str:
    """Everything that the operation's error says, or what it returned."""
    try:
        return repr(await operation(close))
    except CloseBulkError as exc:
        return everything_said(exc)


@asynccontextmanager
async def client_of(peer: Peer, auth: Auth) -> AsyncIterator[CloseBulk]:
    """A client that gives up soon."""
    async with connect(peer, FakeClock(), api_key=None, auth=auth, retry=RetryPolicy(attempts=2)) as close:
        yield close


# Servers that echo -----------------------------------------------------------------------------------------------

Echo = Callable[[str], tuple[str, str]]


def secret_of(header: str) -> str:
    """What the server knows of the caller."""
    return KEY if header.startswith("Basic") else TOKEN


def as_text(header: str) -> tuple[str, str]:
    """Plain text."""
    return f"Your request was: Authorization: {header} ({secret_of(header)})", "text/plain"


def as_page(header: str) -> tuple[str, str]:
    """The error page of a proxy."""
    escaped = html.escape(header).replace("=", "&#61;")
    return f"<html><pre>authorization: {escaped}\n{secret_of(header)}</pre></html>", "text/html"


def as_link(header: str) -> tuple[str, str]:
    """Percent-encoded, as part of an address."""
    return f"<a href='/?auth={quote(header)}&again={quote(header, safe='')}'>again</a>", "text/html"


def as_error(header: str) -> tuple[str, str]:
    """The service's own shape, with general and field errors."""
    return json.dumps(
        {"error": header, "errors": [header], "field-errors": {header: {"x": [header]}}}
    ), "application/json"


def as_action(header: str) -> tuple[str, str]:
    """An action one of whose fields does not fit."""
    row = BulkEmail.example(sender=header, status=header).to_dict()
    return json.dumps({**row, "n_objects_processed": header, header: header}), "application/json"


def as_good_action(header: str) -> tuple[str, str]:
    """An action whose sender, status and unknown keys are the secret."""
    row = BulkEmail.example(sender=header, status=header).to_dict()
    return json.dumps({**row, header: secret_of(header)}).replace("/", "\\/"), "application/json"


ECHOES = (as_text, as_page, as_link, as_error, as_action, as_good_action)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 408, 422, 429, 500, 503])
@pytest.mark.parametrize("echo", ECHOES)
@each_auth
async def test_what_a_server_echoes_is_not_shown(
    caplog: pytest.LogCaptureFixture, auth: Auth, echo: Echo, status: int
) -> None:
    """An answer that shows the request's own header gets into no error, no log and no pickle, whatever its status."""
    caplog.set_level(logging.DEBUG)

    def answer(request: web.BaseRequest) -> web.Response:
        text, content_type = echo(request.headers["authorization"])
        headers = {"location": "https://elsewhere.example/?" + quote(request.headers["authorization"])}
        return web.Response(status=status, text=text, content_type=content_type, headers=headers)

    async with Peer(answer) as peer, client_of(peer, auth) as close:
        said = [await provoke(close, operation) for operation in OPERATIONS]
        peer.answer = lambda request: answer_well(request) if request.method == "GET" else answer(request)
        said.append(await provoke(close, start_email))
    assert {seen.method for seen in peer.seen} == {"GET", "POST", "PUT"}
    assert leaks("\n".join(said)) == []
    assert leaks(everything_logged(caplog)) == []


@each_operation
@each_auth
async def test_a_server_that_echoes_the_bytes(
    caplog: pytest.LogCaptureFixture, auth: Auth, operation: Callable[[CloseBulk], Awaitable[object]]
) -> None:
    """What is no HTTP at all is quoted by the parser's error, and that error holds the request."""
    caplog.set_level(logging.DEBUG)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        line = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization"))
        if operation is start_email and request.startswith(b"GET"):
            writer.write(EMPTY_LIST)
        else:
            writer.write(line.partition(b": ")[2] + b"\r\n" + request)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        policy = RetryPolicy(attempts=2)
        async with CloseBulk(auth=auth, base_url=base_url, clock=FakeClock(), retry=policy) as close:
            said = await provoke(close, operation)
    assert operation is wait or "no whole answer" in said
    assert leaks(said) == []
    assert leaks(everything_logged(caplog)) == []


# Everything else that goes wrong -----------------------------------------------------------------------------------

WRONG: tuple[Fault, ...] = (
    faults.cut_before(),
    faults.cut_after(),
    faults.hang(),
    faults.truncated_body(),
    faults.broken_json(),
    faults.no_content(),
    faults.altered(without=["id"]),
    faults.server_error(),
    faults.forbidden(),
    faults.redirect("http://127.0.0.1:9/"),
    faults.redirect("http://["),
    faults.too_many_requests(retry_after=500),
    faults.too_many_requests(),
    faults.invalid_fields({"lead": "This field is required."}),
)


@pytest.mark.parametrize("fault", WRONG, ids=[fault.name for fault in WRONG])
@each_operation
@each_auth
async def test_no_failure_shows_it(
    caplog: pytest.LogCaptureFixture, auth: Auth, operation: Callable[[CloseBulk], Awaitable[object]], fault: Fault
) -> None:
    """Neither in what is raised, with its causes, nor in any log record down to debug."""
    caplog.set_level(logging.DEBUG)
    clock = FakeClock()
    async with (
        Simulator(clock=clock, api_key=KEY, bearer_tokens=(TOKEN,)) as sim,
        connect(sim, clock, api_key=None, auth=auth, retry=RetryPolicy(attempts=2, max_wait=30)) as close,
    ):
        sim.add_job("email", id="bulkemail_1", status="processing")
        if operation is start_email:  # what is read before the POST comes through, what is read after it does not
            sim.fail_next(fault, times=None, method="POST")
            sim.fail_next(fault, times=None, method="GET", skip=1)
        else:
            sim.fail_next(fault, times=None)
        said = await provoke(close, operation)
    assert leaks(said) == []
    assert leaks(everything_logged(caplog)) == []


@each_auth
async def test_a_refused_connection_does_not_show_it(caplog: pytest.LogCaptureFixture, auth: Auth) -> None:
    """Neither while it is tried again nor in the end."""
    caplog.set_level(logging.DEBUG)
    async with Peer() as peer:
        base_url = peer.base_url
    async with CloseBulk(auth=auth, base_url=base_url, clock=FakeClock()) as close:
        said = [await provoke(close, operation) for operation in OPERATIONS]
    assert leaks("\n".join(said)) == []
    assert leaks(everything_logged(caplog)) == []


@each_auth
async def test_a_cancelled_create_does_not_log_it(caplog: pytest.LogCaptureFixture, auth: Auth) -> None:
    """The warning names the job, or says why nobody knows it."""
    caplog.set_level(logging.DEBUG)
    clock = FakeClock(auto=False)
    async with (
        Simulator(clock=clock, api_key=KEY, bearer_tokens=(TOKEN,)) as sim,
        connect(sim, clock, api_key=None, auth=auth) as close,
    ):
        page, kind = as_page(auth.header())
        for fault in (
            faults.delay(5, acts_first=True),
            faults.hang(),
            attrs.evolve(faults.reply(500, page, content_type=kind), wait_before=5.0),
        ):
            sim.fail_next(fault, method="POST")
            task = asyncio.ensure_future(start_email(close))
            await clock.settle()
            task.cancel()
            await clock.advance(60)
            assert task.cancelled()
    logged = everything_logged(caplog)
    assert logged.count("its caller was cancelled") >= 3
    assert leaks(logged) == []


def read_all(folder: Path) -> str:
    """Every byte of every file below a folder, as a character each."""
    return "".join(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file())


@each_auth
async def test_a_journal_does_not_hold_it(tmp_path: Path, auth: Auth) -> None:
    """None of its files: neither that of the intents nor what SQLite and locks put beside it."""
    clock = FakeClock()
    async with (
        Simulator(clock=clock, api_key=KEY, bearer_tokens=(TOKEN,)) as sim,
        connect(sim, clock, api_key=None, auth=auth, journal=tmp_path / "journal.db") as close,
    ):
        await close.wait_until_done(await start_email(close))
        written = read_all(tmp_path)
    assert "emailacct_1" in written
    assert leaks(written) == []


@each_auth
async def test_no_object_shows_it(auth: Auth) -> None:
    """The client, its parts, what it returns and what the simulator notes can all be printed."""
    async with Peer() as peer:
        close = connect(peer, FakeClock(), api_key=None, auth=auth)
        objects: list[Any] = [close, auth, close.emails, vars(close), vars(close.emails), peer.base_url]
        async with close:
            objects += [await get(close), await list_(close), close.emails.iterate()]
            waiting = close.emails.wait_until_done("bulkemail_1")
            objects += [
                waiting,
                *(getattr(waiting, name) for name in type(waiting).__slots__ if not name.startswith("__")),
            ]
            await waiting.aclose()
    assert leaks(repr(objects)) == []
    assert leaks(str(objects)) == []


def test_a_refused_secret_is_not_shown() -> None:
    """A key with a typing mistake in it is still nearly a key."""
    for nearly in (f"{KEY} ", f"{KEY}:"):
        with pytest.raises(CloseBulkError) as caught:
            CloseBulk(nearly)
        assert leaks(everything_said(caught.value)) == []
    with pytest.raises(CloseBulkError) as caught:
        CloseBulk("k", base_url=f"https://{KEY}@api.close.com/?{TOKEN}")
    assert leaks(everything_said(caught.value)) == []


async def test_the_key_was_on_the_wire() -> None:
    """Lest these tests pass because nothing was sent."""
    async with Peer() as peer, client_of(peer, ApiKey(KEY)) as close:
        await list_(close)
        assert leaks(peer.seen[0].headers["authorization"]) == [ENCODED_KEY]
