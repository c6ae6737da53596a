"""`closebulk dashboard` as its users start and end it."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from closebulk_async.simulator import Plan, Simulator
from closebulk_async.sqlite_journal import SqliteJournal
from tests.cli.programs import PIPE, StillClock, environment, finish, for_simulator, read_until, run, running
from tests.journals import new_intent

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

ENDED = "the dashboard has ended; this changes nothing at Close, and what runs there goes on"
TOKEN = "a-token-that-was-chosen"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator with one action, whose time stands still."""
    async with Simulator(clock=StillClock()) as simulator:
        simulator.add_job("email", plan=Plan(duration=60, n_objects=100))
        yield simulator


async def address_of(process: Process) -> str:
    """The address that it prints."""
    line = await read_until(process, "http://")
    found = re.search(r"http://\S+/", line)
    assert found is not None
    return found[0].rstrip("/")


async def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body of an answer."""
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        return response.status, await response.text()


async def see(url: str, text: str) -> None:
    """Return when an open page is told something."""
    async with aiohttp.ClientSession() as http, http.get(url + "/api/events") as response:
        async for line in response.content:
            if text in line.decode():
                return


async def test_it_serves_what_the_environment_names(sim: Simulator) -> None:
    """It prints one line with the address, where the page, the actions and the numbers are."""
    async with running("dashboard", "--port", "0", env=for_simulator(sim)) as process:
        url = await address_of(process)
        assert url.startswith("http://127.0.0.1:")
        assert (await get(url + "/"))[0] == 200
        await see(url, '"phase":"running"')
        _, metrics = await get(url + "/metrics")
        assert 'closebulk_actions{kind="email",phase="running"} 1.0' in metrics
        assert "closebulk_requests_total{" in metrics
        process.send_signal(signal.SIGTERM)
        done = await finish(process)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [f"closebulk: {ENDED}"]


async def test_bytes_that_are_no_request_are_refused_without_a_word(sim: Simulator) -> None:
    """Whoever can reach it could fill its log otherwise, with a line for each."""
    async with running("dashboard", "--port", "0", env=for_simulator(sim)) as process:
        url = await address_of(process)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET \n/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
        writer.close()
        process.send_signal(signal.SIGTERM)
        done = await finish(process)
    assert done.err.splitlines() == [f"closebulk: {ENDED}"]


async def test_ctrl_c_ends_it_with_an_open_page(sim: Simulator) -> None:
    """At once, in one line, and nothing was changed."""
    async with running("dashboard", "--port", "0", env=for_simulator(sim)) as process:
        url = await address_of(process)
        async with aiohttp.ClientSession() as http, http.get(url + "/api/events") as response:
            assert await response.content.readline()
            process.send_signal(signal.SIGINT)
            done = await finish(process)
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines() == [f"closebulk: interrupted; {ENDED}"]
    assert {request.method for request in sim.requests} == {"GET"}


async def test_a_port_that_is_taken_is_said(sim: Simulator) -> None:
    """In one line, with the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = await run("dashboard", "--port", port, env=for_simulator(sim))
    assert done.code == 2
    assert done.err == f"closebulk: cannot listen on 127.0.0.1, port {port}: Address already in use\n"


async def test_a_host_that_is_none_is_said(sim: Simulator) -> None:
    """In one line as well."""
    done = await run("dashboard", "--host", "no.such.host.invalid", "--port", "0", env=for_simulator(sim))
    assert done.code == 2
    assert done.err.startswith("closebulk: cannot listen on no.such.host.invalid, port 0: ")
    assert len(done.err.splitlines()) == 1


async def test_where_others_can_reach_it_it_makes_a_token(sim: Simulator) -> None:
    """It is printed once, with how to put TLS in front, and the page asks for it."""
    async with running("dashboard", "--host", "0.0.0.0", "--port", "0", env=for_simulator(sim)) as process:  # noqa: S104 - what is tested
        url = (await address_of(process)).replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - as above
        line = await read_until(process, "needs a token", stream="stderr")
        token = line.rpartition(" ")[2]
        assert len(token) >= 40
        assert (await get(url + "/"))[0] == 401
        assert (await get(url + "/api/actions"))[0] == 401
        assert (await get(url + "/api/actions", Authorization=f"Bearer {token}"))[0] == 200
        process.send_signal(signal.SIGTERM)
        done = await finish(process)
    assert token not in done.err + done.out
    for hint in ("reverse_proxy", "proxy_buffering off", "--allow-host"):
        assert hint in done.err


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - the other case
async def test_a_token_that_was_set_is_used_and_not_printed(sim: Simulator, host: str) -> None:
    """On every address: behind a proxy, others reach the one of this machine as well."""
    env = for_simulator(sim) | {"CLOSEBULK_DASHBOARD_TOKEN": TOKEN}
    async with running("dashboard", "--host", host, "--port", "0", env=env) as process:
        url = (await address_of(process)).replace(host, "127.0.0.1")
        assert (await get(url + "/api/actions"))[0] == 401
        assert (await get(url + "/api/actions", Authorization=f"Bearer {TOKEN}"))[0] == 200
        process.send_signal(signal.SIGTERM)
        done = await finish(process)
    assert TOKEN not in done.err + done.out


async def test_a_token_that_is_too_short_is_refused(sim: Simulator) -> None:
    """Before anything is served."""
    done = await run("dashboard", "--port", "0", env=for_simulator(sim) | {"CLOSEBULK_DASHBOARD_TOKEN": "short"})
    assert (done.code, done.out) == (2, "")
    assert "at least 16 characters" in done.err


async def test_names_and_control_are_allowed_by_options(sim: Simulator) -> None:
    """Neither is without them. Behind a name are others, so that it demands a token."""
    arguments = ("dashboard", "--port", "0", "--allow-control", "--allow-host", "dash.example.com")
    async with running(*arguments, env=for_simulator(sim) | {"CLOSEBULK_DASHBOARD_TOKEN": TOKEN}) as process:
        url = await address_of(process)
        known = {"Host": "dash.example.com", "Authorization": f"Bearer {TOKEN}"}
        assert '"can_control":true' in (await get(url + "/api/session", **known))[1]
        assert (await get(url + "/api/session", Host="dash.example.com"))[0] == 401
        assert (await get(url + "/api/session", Host="other.example.com"))[0] == 421


async def test_a_name_that_is_allowed_makes_a_token(sim: Simulator) -> None:
    """Where none was chosen, although it listens on this machine alone."""
    async with running(
        "dashboard", "--port", "0", "--allow-host", "dash.example.com", env=for_simulator(sim)
    ) as process:
        url = await address_of(process)
        token = (await read_until(process, "needs a token", stream="stderr")).rpartition(" ")[2]
        assert (await get(url + "/api/session"))[0] == 401
        assert (await get(url + "/api/session", Authorization=f"Bearer {token}"))[0] == 200


async def test_a_journal_shows_its_open_starts(sim: Simulator, tmp_path: Path) -> None:
    """Those that another process has left."""
    journal = SqliteJournal(tmp_path / "journal.db")
    intent = await journal.begin(new_intent())
    await journal.aclose()
    arguments = ("dashboard", "--port", "0", "--journal", str(tmp_path / "journal.db"))
    async with running(*arguments, env=for_simulator(sim)) as process:
        url = await address_of(process)
        await see(url, intent.id)


async def test_without_a_key_it_does_not_begin() -> None:
    """As every other command."""
    done = await run("dashboard", env=environment())
    assert (done.code, done.out) == (2, "")
    assert "no API key" in done.err


async def test_without_the_extra_it_says_what_to_install(sim: Simulator) -> None:
    """In one line."""
    program = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "from closebulk_async.cli import main\n"
        "sys.exit(main(['dashboard', '--port', '0']))\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program), env=for_simulator(sim), stdout=PIPE, stderr=PIPE
    )
    done = await finish(process)
    assert (done.code, done.out) == (2, "")
    assert done.err == ("closebulk: prometheus_client is not installed: pip install 'closebulk-async[dashboard]'\n")
