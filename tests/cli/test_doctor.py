"""`closebulk doctor`: what it looks at, that it only reads, and what its exit code says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from attrs import evolve

from closebulk_async import CloseBulk
from closebulk_async.simulator import Limits, Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.version import __version__

from . import keyrings
from .programs import COMMAND, PIPE, StillClock, finish, for_simulator, read_terminal, run
from .starts import crash, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .conftest import Closebulk
    from .programs import Finished


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator that lives in the present, as the command's own clock does, and shows limits."""
    async with Simulator(limits=Limits()) as simulator:
        yield simulator


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "closebulk.db"


def grades(finished: Finished) -> dict[str, str]:
    """The worst grade of each thing that was looked at."""
    found: dict[str, str] = {}
    for line in finished.lines:
        grade, what = re.fullmatch(r"(ok|warn|fail) {2,}([^:]+): .+", line).groups()  # type: ignore[union-attr]  # or it fails
        found[what] = max(grade, found.get(what, ""), key=["", "ok", "warn", "fail"].index)
    return found


def line_of(finished: Finished, what: str) -> str:
    """The first line about a thing."""
    return next(line for line in finished.lines if f" {what}: " in line)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files below a folder, and when they were changed; of locks not, which older versions of filelock touch."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), "owners" not in str(path) and path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


LISTS = [f"list of {kind}" for kind in ("email", "delete", "edit", "sequence_subscription", "export")]


async def test_all_is_well(sim: Simulator, closebulk: Closebulk) -> None:
    """Each thing is looked at, in lines that begin with a grade; the key is named by where it comes from."""
    sim.add_webhook("https://example.com/hook")
    finished = await closebulk("doctor")
    assert (finished.code, finished.err) == (0, "")
    things = ["versions", "base URL", "key", "clock", *LISTS, "rate limits", "webhooks", "journal"]
    assert list(grades(finished)) == things
    assert {what for what, grade in grades(finished).items() if grade != "ok"} == {"base URL"}
    assert f"closebulk-async {__version__}, Python " in line_of(finished, "versions")
    assert line_of(finished, "versions").endswith(f"aiohttp {aiohttp.__version__}")
    assert line_of(finished, "key") == f"ok    key: CLOSE_API_KEY works: it is that of {sim.user_id}"
    assert line_of(finished, "webhooks") == "ok    webhooks: 1 of 1 subscriptions tell of jobs"


async def test_it_only_reads(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """The service sees GETs and nothing else, and no file of a journal is made, changed or removed."""
    await crash(sim, journal)
    n_requests, before = len(sim.requests), snapshot(journal.parent)
    finished = await closebulk("doctor", "--journal", str(journal))
    assert finished.code == 0
    assert {request.method for request in sim.requests[n_requests:]} == {"GET"}
    assert (sim.jobs, snapshot(journal.parent)) == ((), before)


async def test_json(sim: Simulator, closebulk: Closebulk) -> None:
    """The same as objects, one a line."""
    finished = await closebulk("doctor", "--json")
    found = [json.loads(line) for line in finished.lines]
    assert {tuple(each) for each in found} == {("grade", "what", "finding", "advice")}
    assert [each["what"] for each in found if each["grade"] == "warn"] == ["base URL"]


async def test_a_key_that_is_refused(closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, says what to do, and asks nothing else; the journal is looked at all the same."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_wrong")
    finished = await closebulk("doctor")
    assert finished.code == 1
    assert list(grades(finished)) == ["versions", "base URL", "key", "journal"]
    assert line_of(finished, "key").startswith("fail  key: CLOSE_API_KEY is refused: GET /me/ was answered with 401")
    assert "make a new key in Close" in line_of(finished, "key")


async def test_no_key(sim: Simulator, closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails without a request, as every command does without one, and says how to get one."""
    monkeypatch.delenv("CLOSE_API_KEY")
    finished = await closebulk("doctor")
    said = "fail  key: there is none: set CLOSE_API_KEY, or keep a key: closebulk login --api-key"
    assert (finished.code, line_of(finished, "key")) == (2, said)
    nobody = await closebulk("doctor", "--profile", "work")
    assert nobody.code == 2
    assert nobody.lines[1].startswith("fail  key: there is no profile 'work'")
    assert sim.requests == ()


async def test_a_service_that_cannot_be_reached(closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the network's fault and not the key's."""
    monkeypatch.setenv("CLOSE_BASE_URL", "http://127.0.0.1:9/api/v1")
    finished = await closebulk("doctor")
    assert finished.code == 1
    assert line_of(finished, "key").startswith("fail  key: CLOSE_API_KEY could not be tried: ")
    assert line_of(finished, "key").endswith("network, firewall, proxies")


async def test_a_user_who_may_not_do_all(sim: Simulator, closebulk: Closebulk) -> None:
    """What may not be read fails, thing by thing; webhooks are only warned of, as not all need them."""
    sim.fail_next(faults.forbidden(), path="/me/")
    sim.fail_next(faults.forbidden(), path="/bulk_action/delete/")
    sim.fail_next(faults.forbidden(), path="/webhook/")
    finished = await closebulk("doctor")
    found = grades(finished)
    assert finished.code == 1
    assert [what for what, grade in found.items() if grade == "fail"] == ["key", "list of delete"]
    assert [what for what, grade in found.items() if grade == "warn"] == ["base URL", "webhooks"]


async def test_no_limits_are_seen(sim: Simulator, closebulk: Closebulk) -> None:
    """That is a warning, and no failure."""
    sim.limits = None
    finished = await closebulk("doctor")
    assert (finished.code, grades(finished)["rate limits"]) == (0, "warn")


@pytest.mark.parametrize(("ahead", "grade"), [(-30, "warn"), (-3600, "fail"), (3600, "fail")])
async def test_a_clock_that_is_off(
    closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch, ahead: float, grade: str
) -> None:
    """It is compared with the service's."""
    async with Simulator(clock=StillClock(datetime.now(UTC) - timedelta(seconds=ahead))) as other:
        monkeypatch.setenv("CLOSE_API_KEY", other.api_key)
        monkeypatch.setenv("CLOSE_BASE_URL", other.base_url)
        finished = await closebulk("doctor")
    assert (finished.code, grades(finished)["clock"]) == (int(grade == "fail"), grade)


async def test_profiles_are_named(sim: Simulator, tmp_path: Path) -> None:
    """Whose key is tried, and where it comes from: a key and a login, each by its profile."""
    env = keyrings.environment_with(tmp_path / "keyring.json", CLOSE_BASE_URL=sim.base_url)
    await run("login", "--api-key", "--profile", "work", env=env, typed=f"{sim.api_key}\n")
    finished = await run("doctor", "--profile", "work", env=env | {"CLOSE_API_KEY": "api_wrong"})
    assert finished.code == 0
    said = f"ok    key: the API key of the profile 'work' works: it is that of {sim.user_id}"
    assert line_of(finished, "key") == said
    env |= {"CLOSE_CLIENT_ID": sim.oauth.client_id, "CLOSE_CLIENT_SECRET": sim.oauth.client_secret}
    await run("login", "--no-browser", env=env, typed=f"{sim.oauth.make_code()}\n")
    finished = await run("doctor", env=env)
    assert line_of(finished, "key").startswith("ok    key: the login of the profile 'default' works: ")


async def test_webhooks_that_do_not_work(sim: Simulator, closebulk: Closebulk) -> None:
    """Those that tell of jobs and are paused, or come twice, are named with what to do."""
    paused = sim.add_webhook("https://example.com/hook?token=secret")
    async with CloseBulk(sim.api_key, base_url=sim.base_url) as close:
        await close.webhooks.update(paused.id, status="paused")
    finished = await closebulk("doctor")
    assert (finished.code, grades(finished)["webhooks"]) == (0, "warn")
    assert f"{paused.id}, to https://example.com, is paused" in line_of(finished, "webhooks")
    assert "secret" not in finished.out


async def test_a_journal(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """What is open is counted; what nobody knows the end of comes with the command that settles it."""
    await start(sim, journal)
    finished = await closebulk("doctor", "--journal", str(journal))
    said = f"ok    journal: {journal} can be read; 1 intent is open; 0 clients use it just now"
    assert [line for line in finished.lines if "journal: " in line] == [said]
    await crash(sim, journal)
    finished = await closebulk("doctor", "--journal", str(journal))
    assert finished.code == 0
    assert line_of(finished, "journal") == (
        f"warn  journal: of 1 start in {journal} nobody knows whether they happened: "
        f"closebulk recover --journal {journal}"
    )


async def test_a_journal_in_use(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """A start of a client that is alive is under way, and not lost; it is read while others write."""
    lost = await crash(sim, journal)
    other = SqliteJournal(journal)
    async with aclosing(other):
        intent = await other.get(lost)
        assert intent is not None
        await other.swap(evolve(intent, owner=await other.enter()))
        finished = await closebulk("doctor", "--journal", str(journal))
        said = f"ok    journal: {journal} can be read; 1 intent is open; 1 client uses it just now"
        assert [line for line in finished.lines if "journal: " in line] == [said]


async def test_a_journal_that_others_may_read(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """It holds whom one writes to: the command that closes it is named."""
    await start(sim, journal)
    await asyncio.to_thread(journal.chmod, 0o640)
    finished = await closebulk("doctor", "--journal", str(journal))
    assert finished.code == 0
    said = f"warn  journal: other users may use {journal} (mode 0640): chmod 600 {journal}"
    assert line_of(finished, "journal") == said


async def test_no_journal(closebulk: Closebulk, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing is not made; the environment may name it."""
    monkeypatch.setenv("CLOSEBULK_JOURNAL", str(journal))
    finished = await closebulk("doctor")
    assert (finished.code, grades(finished)["journal"]) == (0, "warn")
    assert f"{journal} does not exist" in line_of(finished, "journal")
    assert not await asyncio.to_thread(journal.exists)


async def test_a_journal_that_cannot_be_looked_for(closebulk: Closebulk, tmp_path: Path) -> None:
    """A name that no file can have fails as what is no journal does; so does a folder that nobody may look into."""
    finished = await closebulk("doctor", "--journal", str(tmp_path / ("a" * 300)))
    assert (finished.code, grades(finished)["journal"]) == (1, "fail")
    assert "File name too long" in line_of(finished, "journal")


@pytest.mark.parametrize("what", ["text", "another database", "a later version", "a damaged row", "a folder"])
async def test_what_is_no_journal(sim: Simulator, closebulk: Closebulk, journal: Path, what: str) -> None:
    """It fails, in one line."""
    await asyncio.to_thread(spoil, journal, what)
    finished = await closebulk("doctor", "--journal", str(journal))
    assert (finished.code, grades(finished)["journal"]) == (1, "fail")
    assert f"{journal} cannot be read: " in line_of(finished, "journal")


def spoil(journal: Path, what: str) -> None:
    """Put something there that looks like a journal."""
    if what == "text":
        journal.write_text("no journal\n" * 100)
    elif what == "a folder":
        journal.mkdir()
    else:
        if what != "another database":
            asyncio.run(make_journal(journal))
        with closing(sqlite3.connect(journal)) as db:
            if what == "a later version":
                db.execute("PRAGMA user_version = 99")
            elif what == "a damaged row":
                db.execute(
                    "INSERT INTO intents (id, scope, kind, body, fingerprint, created_at, state, version, changed_at)"
                    " VALUES ('a', 'b', 'no kind', '{}', 'c', '2026-01-15T09:30:00+00:00', 'posting', 0, 0)"
                )
            else:
                db.execute("CREATE TABLE others (id INTEGER)")
            db.commit()


async def make_journal(journal: Path) -> None:
    """An empty one."""
    made = SqliteJournal(journal)
    async with aclosing(made):
        await made.unfinished()


async def test_a_narrow_terminal(sim: Simulator) -> None:
    """Lines are broken between words, and only a new one begins with a grade."""
    terminal, its_end = os.openpty()
    env = for_simulator(sim) | {"TERM": "xterm", "COLUMNS": "60"}
    process = await asyncio.create_subprocess_exec(*COMMAND, "doctor", env=env, stdout=its_end, stderr=PIPE)
    os.close(its_end)
    seen = (await asyncio.to_thread(read_terminal, terminal)).splitlines()
    os.close(terminal)
    assert (await finish(process)).code == 0
    assert all(re.match(r"(ok|warn|fail) {2,}\S| {6}\S", line) for line in seen)
    assert any(line.startswith("      ") for line in seen)
    assert [line for line in seen if len(line) > 60 and " " in line.strip()] == []
