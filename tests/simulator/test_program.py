"""`python -m closebulk_async.simulator` as a process, and what its modules import."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

import closebulk_async.simulator as package
from closebulk_async.simulator.__main__ import main

from .api import basic

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

COMMAND = (sys.executable, "-m", "closebulk_async.simulator")
PIPE = asyncio.subprocess.PIPE


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[tuple[Process, str]]:
    """The program with these options, and the line that it printed."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *options, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """It prints its base URL, serves jobs of the plan that the options make, and ends with status 0 on a signal."""
    options = (
        "--api-key",
        "api_test",
        "--seconds",
        "0",
        "--leads",
        "7",
        "--ends",
        "error",
        "--rate",
        "5",
        "--seed",
        "3",
    )
    async with running(*options) as (process, base_url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1", base_url)
        async with (
            aiohttp.ClientSession(headers=basic("api_test")) as session,
            session.post(f"{base_url}/bulk_action/delete/", json={}) as response,
        ):
            row = await response.json()
            assert (row["status"], row["n_leads"]) == ("error", 7)
            assert response.headers["ratelimit"].startswith("limit=40; remaining=39; reset=")
        process.send_signal(number)
        assert await process.wait() == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_it_ends_with_its_standard_input() -> None:
    """With `--exit-with-stdin` it ends when the other end of its standard input is closed, as by a parent that dies."""
    async with running("--exit-with-stdin") as (process, base_url):
        assert base_url
        assert process.stdin is not None
        process.stdin.write(b"ignored")
        process.stdin.close()
        assert await process.wait() == 0


async def test_a_port_that_is_taken_is_told() -> None:
    """A second program on the same port says so and exits with status 1."""
    async with running() as (_, base_url):
        port = base_url.split(":")[2].split("/")[0]
        async with running("--port", port) as (second, line):
            assert line == ""
            assert await second.wait() == 1
            assert second.stderr is not None
            assert (await second.stderr.read()).startswith(f"cannot serve on port {port}: ".encode())


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--seconds", "-1", "invalid number value: '-1'"),
        ("--seconds", "nan", "invalid number value: 'nan'"),
        ("--leads", "-1", "invalid count value: '-1'"),
        ("--leads", "many", "invalid count value: 'many'"),
        ("--ends", "soon", "invalid choice: 'soon'"),
        ("--port", "99999", "invalid port value: '99999'"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], option: str, value: str, text: str) -> None:
    """A value that makes no sense is a usage error, status 2, that names it."""
    with pytest.raises(SystemExit) as stopped:
        main([f"{option}={value}"])
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


async def test_help_needs_no_aiohttp() -> None:
    """The program imports aiohttp only to serve."""
    code = (
        "import sys\n"
        "from closebulk_async.simulator.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as stopped:\n    print(stopped.code, 'aiohttp' in sys.modules)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    output, _ = await process.communicate()
    assert b"--exit-with-stdin" in output
    assert output.splitlines()[-1] == b"0 False"


def test_the_package_gives_its_names_when_asked() -> None:
    """Every public name can be had and is listed; others cannot."""
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018 - reading it is what raises
