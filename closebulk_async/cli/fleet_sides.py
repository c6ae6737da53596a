"""What the commands of a fleet do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import attrs

from closebulk_async.cli.calls import current
from closebulk_async.cli.credentials import find_credentials
from closebulk_async.cli.exits import ExitCode, command, complain
from closebulk_async.cli.following import Following
from closebulk_async.cli.launching import Launch
from closebulk_async.cli.texts import format_seconds
from closebulk_async.cli.views import choose_view, print_json
from closebulk_async.client import CloseBulk
from closebulk_async.counting import Preview
from closebulk_async.errors import AmbiguousStartError, CloseBulkError, InvalidRequestError
from closebulk_async.integrations.fleet_setup import prepare
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import JobRef
from closebulk_async.waiting import Wait

LATE = 60.0
"""Seconds by which a poll may be late before something is wrong: more than a worker that died costs."""


NOBODY_AFTER = 3.0
"""Seconds after which a start that is still not begun is worth a look for workers."""

T = TypeVar("T")


def read_database() -> str:
    """How to connect. Raises InvalidRequestError where nobody has said it."""
    conninfo = os.environ.get("CLOSEBULK_DATABASE", "").strip()
    if not conninfo:
        raise InvalidRequestError("set CLOSEBULK_DATABASE: how to connect to the fleet's PostgreSQL, as libpq takes it")
    return conninfo


def make_client(account: str, **wiring: Any) -> CloseBulk:
    """The client of an organization: a profile by that name, or whoever this command is."""
    call, typed = current(), current().profile
    call.profile = typed if account == "default" else account
    try:
        credentials = find_credentials()
    finally:
        call.profile = typed
    return CloseBulk(auth=credentials.auth, base_url=credentials.base_url, **wiring)


def open_fleet() -> Fleet:
    """The fleet of CLOSEBULK_DATABASE, to be opened."""
    return Fleet(read_database(), make_client)


def init(*, as_json: bool) -> ExitCode:
    """Make the tables."""
    version = asyncio.run(prepare(read_database()))
    if as_json:
        print_json({"version": version})
    else:
        print(f"the tables of a fleet are there, in version {version}")
    return ExitCode.DONE


def work(*, concurrency: int, as_json: bool) -> ExitCode:
    """Work until a signal; as JSON it says only that it works."""

    async def run() -> None:
        async with open_fleet() as fleet:
            await fleet.client()  # who has no key learns of it now, and not from starts that fail
            if as_json:
                print_json({"works": True})
            complain("working; Ctrl-C or SIGTERM ends it once what runs is finished")
            await fleet.work(concurrency=concurrency, handles_signals=True)

    asyncio.run(run())
    return ExitCode.DONE


# Looking --------------------------------------------------------------------------------------------------------------


def show_status(*, as_json: bool) -> ExitCode:
    """Print what the database says."""

    async def read() -> dict[str, Any]:
        async with open_fleet() as fleet:
            return await fleet.status()

    found = asyncio.run(read())
    if as_json:
        print_json(found)
    else:
        print("\n".join(describe_status(found)))
    waits = any(row["state"] in {"waiting", "ambiguous"} for row in found["starts"])
    is_late = any(row["late"] > LATE for row in found["actions"])
    return ExitCode.FAILED if is_late or (waits and not found["workers"]) else ExitCode.DONE


def describe_status(found: Mapping[str, Any]) -> Sequence[str]:
    """A line for each thing that can be said."""
    lines = [f"workers: {len(found['workers'])}"]
    lines += [
        f"  {row['id']}, {row['queue']}: {row['jobs']} tasks, last heard of {format_seconds(row['silent_for'])} ago"
        for row in found["workers"]
    ]
    lines += [f"starts of {row['account']}: {row['count']} {row['state']}" for row in found["starts"]]
    for row in found["actions"]:
        late = f", up to {format_seconds(row['late'])} late" if row["late"] > 1 else ""
        failing = f", {row['failing']} of them cannot be read just now" if row["failing"] else ""
        failed = f", {row['failed']} given up" if row["failed"] else ""
        why = f" ({row['error']})" if row["error"] else ""
        lines.append(f"polled for {row['account']}: {row['active']} {row['kind']}{failing}{failed}{why}{late}")
    return lines


@attrs.frozen
class Side:
    """The fleet as one organization sees it, in the place of its client."""

    fleet: Fleet
    account: str

    def wait_until_done(self, ref: JobRef[Any], **options: Any) -> Wait[Any]:
        """As the client's."""
        return self.fleet.wait_until_done(ref, account=self.account, **options)


@attrs.define
class FleetFollowing(Following):
    """Waits that the fleet feeds."""

    account: str = "default"

    @property
    def command(self) -> str:
        """What to type to go on with what still runs."""
        return watch_command(self.running, account=self.account)

    async def follow_fleet(self, fleet: Fleet, *, as_json: bool) -> ExitCode:
        """As `follow`."""
        side = cast("CloseBulk", Side(fleet, self.account))  # of a client it needs `wait_until_done` alone
        return await self.follow(side, choose_view(self.refs, as_json=as_json))


def watch_command(refs: Sequence[JobRef[Any]], *, account: str) -> str:
    """What to type to watch these through the fleet."""
    return command("fleet watch", *map(str, refs), *([] if account == "default" else ["--account", account]))


def watch(refs: Sequence[JobRef[Any]], *, account: str, timeout: float | None, as_json: bool) -> ExitCode:
    """Follow these, or all that the fleet polls."""
    following = FleetFollowing(refs, timeout=timeout, account=account)

    async def follow() -> ExitCode:
        nonlocal following
        async with open_fleet() as fleet:
            if not refs:
                following = FleetFollowing(await fleet.active(account=account), timeout=timeout, account=account)
            if not following.refs:
                complain("the fleet polls nothing now")
                return ExitCode.DONE
            return await following.follow_fleet(fleet, as_json=as_json)

    try:
        code = asyncio.run(follow())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    return following.explain(code)


# Starting -------------------------------------------------------------------------------------------------------------


async def _tell_if_nobody_works(fleet: Fleet, start: Awaitable[T]) -> T:
    """What the start comes to; where that takes long because there is no worker, that is said."""

    async def look() -> None:
        await asyncio.sleep(NOBODY_AFTER)
        with suppress(CloseBulkError):  # that the database is away is the start's to tell
            if not (await fleet.status())["workers"]:
                complain("no worker of this fleet is there: the start waits for a `closebulk fleet worker`")

    looking = asyncio.create_task(look())
    try:
        return await start
    finally:
        looking.cancel()
        await asyncio.wait({looking})


@attrs.define(kw_only=True)
class FleetLaunch(Launch):
    """One run of `closebulk fleet start`."""

    account: str

    async def _start(self, preview: Preview) -> ExitCode:  # noqa: ARG002 - that was shown
        common = self.common
        async with open_fleet() as fleet:
            # Without one the start would run in whatever organization the workers are of, and the preview is of this.
            await fleet.client(self.account)
            try:
                action = await _tell_if_nobody_works(
                    fleet, fleet.start(self.kind, account=self.account, **self.keywords)
                )
            except AmbiguousStartError as exc:
                complain(f"{exc}; the fleet goes on to find out", error=exc)
                return ExitCode.UNKNOWN
            except asyncio.CancelledError:
                complain("interrupted; the fleet goes on with the start, and finishes it")
                raise
            self._tell_started(action)
            if not common.watch:
                return ExitCode.DONE
            following = FleetFollowing([action.ref], timeout=common.timeout, account=self.account)
            self.following: Following = following
            return await following.follow_fleet(fleet, as_json=common.as_json)

    def _watch_command(self, ref: JobRef[Any]) -> str:
        return watch_command([ref], account=self.account)
