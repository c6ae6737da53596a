"""Every fault that the simulator knows, met by the POST of a start: never a second job, and none that is lost.

`python -m tests.test_fault_matrix > docs/faults.md` writes the table for readers.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import attrs
import pytest

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    AuthenticationError,
    BadRequestError,
    CloseBulk,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
    RetryPolicy,
    TransportError,
)
from closebulk_async.intents import Intent, State
from closebulk_async.journal import MemoryJournal
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Fault, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.telemetry import Event, StartReconciled
from closebulk_async.testing.chaos.stepping import SteppingJournal
from tests.stage import KEYWORDS, QUERY, Stage, create

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from closebulk_async.journal import Journal
    from closebulk_async.simulator.server import KindName

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"
MEBIBYTE = 1024 * 1024
HERE = "/api/v1/bulk_action/email/"


@attrs.frozen(kw_only=True)
class Row:
    """What becomes of a start whose POST meets `fault`.

    `again` says whether the POST is sent once more, `jobs` how many the server has in the end, `found` whether the
    action was found in the list, and `error` what is raised; None where the action is returned. The server is away for
    `away` seconds when the POST is to be sent.
    """

    what: str
    fault: Fault | None = None
    again: bool = False
    jobs: int = 1
    found: bool = False
    error: type[CloseBulkError] | None = None
    away: float = 0.0

    @property
    def gets(self) -> str:
        """In words, what the caller gets."""
        if self.error is not None:
            return f"`{self.error.__name__}`"
        return "the action, found in the list" if self.found else "the action"


def _both(what: str, fault: Fault) -> Iterator[Row]:
    """A fault that tells nothing about whether the server acted."""
    yield Row(what=f"{what}; the server acted", fault=attrs.evolve(fault, acts=True), found=True)
    yield Row(what=f"{what}; it did not", fault=attrs.evolve(fault, acts=False), jobs=0, error=AmbiguousStartError)


def _lost(what: str, fault: Fault) -> Row:
    """A fault that comes after the server acted."""
    return Row(what=what, fault=fault, found=True)


def _rejected(status: int, error: type[CloseBulkError]) -> Row:
    fault = faults.reply(status, '{"error": "No."}', content_type="application/json")
    return Row(what=f"{status}", fault=fault, jobs=0, error=error)


ROWS: tuple[Row, ...] = (
    Row(what="none", fault=faults.delay(0)),
    Row(what="no connection for a moment", away=0.2, again=True),
    Row(
        what="no connection for longer than the policy allows", away=math.inf, again=True, jobs=0, error=TransportError
    ),
    Row(what="connection cut before the server acts", fault=faults.cut_before(), jobs=0, error=AmbiguousStartError),
    _lost("connection cut after the server acted", faults.cut_after()),
    _lost("no answer ever; the server acted", faults.hang(acts=True)),
    Row(what="no answer ever; it did not", fault=faults.hang(), jobs=0, error=AmbiguousStartError),
    Row(what="the server acts, and answers after 20 seconds", fault=faults.delay(20, acts_first=True)),
    Row(what="the server acts after 20 seconds, and answers", fault=faults.delay(20)),
    _lost("the server acts, and answers after the timeout", faults.delay(90, acts_first=True)),
    Row(what="the server gives up before it acts", fault=faults.delay(90), jobs=0, error=AmbiguousStartError),
    Row(what="the answer drips in over 20 seconds", fault=faults.slow_body(20)),
    _lost("the answer drips in for longer than the timeout", faults.slow_body(90)),
    _lost("half of the answer, then a cut", faults.truncated_body()),
    _lost("headers, then a cut", faults.truncated_body(kept=0)),
    Row(what="the whole answer, then a cut", fault=faults.truncated_body(kept=1)),
    _lost("half of the JSON", faults.broken_json()),
    _lost("a success without a body", faults.broken_json(kept=0)),
    Row(what="the answer behind 1 MiB of white space", fault=faults.huge_body(MEBIBYTE)),
    _lost("an answer larger than 32 MiB", faults.huge_body(33 * MEBIBYTE)),
    _lost("a success without an `id`", faults.altered(without=["id"])),
    _lost("a success whose `id` is none", faults.altered(id="../1")),
    Row(what="a success without a `status`", fault=faults.altered(without=["status"])),
    Row(what="a success whose other fields do not fit", fault=faults.altered(n_objects_processed="many", status=7)),
    *_both("204", faults.no_content()),
    *_both("200 with a page of HTML", faults.reply(200, "<html>", content_type="text/html")),
    *_both("200 with `{}`", faults.reply(200, "{}", content_type="application/json")),
    *(row for status in (301, 302, 303, 307, 308) for row in _both(f"{status}", faults.redirect(HERE, status=status))),
    *_both("304", faults.reply(304)),
    _rejected(400, BadRequestError),
    Row(
        what="400 of the validator",
        fault=faults.invalid_fields({"s_query": "This field is required."}),
        jobs=0,
        error=BadRequestError,
    ),
    _rejected(401, AuthenticationError),
    _rejected(402, PlanLimitError),
    Row(what="403 in plain text", fault=faults.forbidden(), jobs=0, error=PermissionDeniedError),
    _rejected(404, NotFoundError),
    *(_rejected(status, APIError) for status in (405, 409, 415, 422)),
    *_both("408", faults.reply(408)),
    Row(what="429 that names a wait", fault=faults.too_many_requests(retry_after=2), again=True),
    Row(what="429 that names none", fault=faults.too_many_requests(), again=True),
    Row(
        what="429 that names a wait longer than the policy allows",
        fault=faults.too_many_requests(retry_after=500),
        jobs=0,
        error=RateLimitedError,
    ),
    *(row for status in (500, 502, 503, 504, 599) for row in _both(f"{status}", faults.server_error(status))),
    *_both("503 that names a wait", faults.reply(503, headers=(("retry-after", "2"),))),
)


def render() -> str:
    """The table as the page for readers."""
    return "\n".join(
        [
            "# What becomes of a start",
            "",
            "Every fault that the simulator knows, met by the POST of a `create`, alone and after a 429 or a refused",
            "connection, for each of the four kinds. The test that this table is made from runs them all, and counts",
            "the jobs on the server. An action that the list does not show in time is not found: `create` then raises",
            "`AmbiguousStartError`, and `await error.reconcile()` finds it later.",
            "",
            "| what the POST meets | sent again | jobs | what the caller gets |",
            "|---|---|---|---|",
            *(f"| {row.what} | {'yes' if row.again else 'no'} | {row.jobs} | {row.gets} |" for row in ROWS),
            "",
        ]
    )


async def _do_nothing() -> None:
    """Let a POST pass."""


class HaltingJournal(SteppingJournal):
    """Lets something happen when an intent has just become `posting`, before its POST: what was asked for last."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner, lambda _: None)
        self.before_post: list[Callable[[], Awaitable[None]]] = []

    async def swap(self, intent: Intent) -> Intent | None:
        """As `inner`, and then what was asked for."""
        swapped = await super().swap(intent)
        if intent.state is State.POSTING and self.before_post:
            await self.before_post.pop()()
        return swapped


Before = Literal["first try", "after a 429", "after a refusal"]
StoredIn = Literal["memory", "file"]


@attrs.frozen(kw_only=True)
class Scene:
    """A client with a journal, on a stage where an equal job was started by the same user a moment ago."""

    stage: Stage
    close: CloseBulk
    journal: HaltingJournal
    kind: Kind
    events: list[Event]

    async def create(self) -> str:
        """Start the action; its id."""
        action = await create(self.close, self.kind)
        return str(action.id)

    async def attempt(self) -> tuple[list[str], CloseBulkError | None]:
        """Start the action; its id, or none and what was raised."""
        try:
            return [await self.create()], None
        except CloseBulkError as exc:
            return [], exc

    async def attempt_in_doubt(self) -> AmbiguousStartError:
        """Start an action of which nobody will know what became."""
        with pytest.raises(AmbiguousStartError) as caught:
            await self.create()
        return caught.value

    @property
    def started(self) -> list[str]:
        """The ids of the jobs that were started here."""
        return [job.id for job in self.stage.sim.jobs if job.request]

    def meet(self, row: Row, before: Before = "first try") -> None:
        """Let the POST meet the fault, at the first try or later."""
        sim = self.stage.sim
        if row.fault is not None:
            sim.fail_next(row.fault, method="POST", skip=before == "after a 429")
        else:
            self.journal.before_post.append(lambda: self._go_away(row.away))
        if before == "after a 429":
            sim.fail_next(faults.too_many_requests(retry_after=1), method="POST")
            self.journal.before_post.append(_do_nothing)
        if before == "after a refusal":
            self.journal.before_post.append(lambda: self._go_away(0.2))

    async def _go_away(self, seconds: float) -> None:
        """Serve no more for so long."""
        sim, clock = self.stage.sim, self.stage.clock
        await sim.__aexit__(None, None, None)

        async def come_back() -> None:
            await clock.sleep(seconds)
            await sim.__aenter__()

        if seconds < math.inf:
            self._tasks.append(asyncio.ensure_future(come_back()))

    _tasks: list[asyncio.Future[None]] = attrs.field(factory=list, init=False)


@asynccontextmanager
async def set_scene(stage: Stage, kind: Kind, stored_in: StoredIn, folder: Path) -> AsyncIterator[Scene]:
    """The client and its journal; its retries last longer than a short absence of the server."""
    stage.sim.gzip = False  # a body of 33 MiB is sent quicker than it is compressed
    stage.sim.add_job(cast("KindName", kind.value), {"s_query": QUERY, **KEYWORDS[kind]})
    events: list[Event] = []
    async with AsyncExitStack() as stack:
        inner: Journal = MemoryJournal()
        if stored_in == "file":
            inner = await stack.enter_async_context(SqliteJournal(folder / "journal.db", clock=stage.clock))
        journal = HaltingJournal(inner)
        retry = RetryPolicy(attempts=20)
        close = stage.client(journal=journal, hooks=[events.append], retry=retry)
        await stack.enter_async_context(close)
        yield Scene(stage=stage, close=close, journal=journal, kind=kind, events=events)


CASES = [(kind, "memory") for kind in BULK_KINDS] + [(Kind.EMAIL, "file")]


@pytest.mark.parametrize(("kind", "stored_in"), CASES)
@pytest.mark.parametrize("before", get_args(Before))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
async def test_what_becomes_of_a_start(
    stage: Stage, tmp_path: Path, *, row: Row, before: Before, kind: Kind, stored_in: StoredIn
) -> None:
    """As many jobs as the table says, the caller has theirs or the error, and the journal says the same."""
    async with set_scene(stage, kind, stored_in, tmp_path) as scene:
        scene.meet(row, before)
        ids, error = await scene.attempt()
        assert type(error) is (row.error or type(None))
        assert ids == scene.started
        assert len(ids) == row.jobs
        arrived = (before == "after a 429") + (row.fault is not None) + (row.again and row.jobs)
        assert stage.posts == arrived
        outcomes = [event.outcome for event in scene.events if isinstance(event, StartReconciled)]
        assert outcomes == expected_events(row)
        left = [(intent.state, intent.ref and intent.ref.id) for intent in await scene.journal.unfinished()]
        in_doubt = [(State.POSTING, None)] if row.error is AmbiguousStartError else []
        assert left == in_doubt + [(State.STARTED, id_) for id_ in ids]


def expected_events(row: Row) -> list[str]:
    """What hooks are told."""
    return ["adopted"] if row.found else ["missing"] if row.error is AmbiguousStartError else []


@pytest.mark.parametrize("row", [row for row in ROWS if row.error is AmbiguousStartError], ids=lambda row: row.what)
async def test_what_was_not_found_is_not_started_again(stage: Stage, tmp_path: Path, row: Row) -> None:
    """An equal start that follows sends nothing; once an operator has given the first one up, it is one job."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        scene.meet(row)
        error, again = [await scene.attempt_in_doubt() for _ in range(2)]
        assert error.intent.id == again.intent.id
        assert (stage.posts, scene.started) == (1, [])
        await scene.close.abandon(error.intent.id)
        assert [await scene.create()] == scene.started
        assert stage.posts == 2


@pytest.mark.parametrize("row", [row for row in ROWS if row.found], ids=lambda row: row.what)
async def test_what_is_not_shown_in_time_is_found_later(stage: Stage, tmp_path: Path, row: Row) -> None:
    """The start is in doubt and is not sent again; as soon as the list shows the job, it is the start's own."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.next_job(shown_after=600, duration=10_000)
        scene.meet(row)
        error, _ = [await scene.attempt_in_doubt() for _ in range(2)]
        assert (stage.posts, len(scene.started)) == (1, 1)
        await stage.clock.sleep(600)
        assert [(await error.reconcile()).id] == scene.started
        assert stage.posts == 1


# The reads around it ------------------------------------------------------------------------------------------------

READ_FAULTS = {row.what: row for row in ROWS if row.fault is not None and row.fault.padding <= MEBIBYTE}
LIST = "/bulk_action/"


def is_final(row: Row) -> bool:
    """Whether the fault ends a read at once: it is a rejection, or asks for too long a wait."""
    return row.error is not None and row.error is not AmbiguousStartError


each_read_fault = pytest.mark.parametrize("row", READ_FAULTS.values(), ids=list(READ_FAULTS))


@each_read_fault
async def test_what_is_read_before_the_post_may_fail_once(stage: Stage, tmp_path: Path, row: Row) -> None:
    """It is read again. A rejection is raised as it is, no POST was sent, and nothing is in doubt."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.fail_next(row.fault or faults.delay(0), method="GET", path=LIST)
        ids, error = await scene.attempt()
        assert type(error) is (row.error if is_final(row) else type(None))
        assert ids == scene.started
        assert stage.posts == len(ids) == (not is_final(row))


@each_read_fault
async def test_what_is_read_before_the_post_may_fail_for_ever(stage: Stage, tmp_path: Path, row: Row) -> None:
    """Either there is a fence, or no POST is sent: an error then says what the read met."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.fail_next(row.fault or faults.delay(0), method="GET", path=LIST, times=None)
        ids, error = await scene.attempt()
        assert not isinstance(error, AmbiguousStartError)
        assert (error is None) == (len(ids) == 1)
        assert ids == scene.started
        assert stage.posts == len(ids)
        assert [intent.ref and intent.ref.id for intent in await scene.journal.unfinished()] == ids


async def outwait(stage: Stage, row: Row) -> None:
    """Let the time pass for which the list is stopped, longer than anything waits for it."""
    if row.error is RateLimitedError:
        await stage.clock.sleep(501)


@each_read_fault
async def test_what_is_read_after_the_post_may_fail_once(stage: Stage, tmp_path: Path, row: Row) -> None:
    """The action of a lost answer is found by another look, at once or when the caller asks for it."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        stage.sim.fail_next(row.fault or faults.delay(0), method="GET", path=LIST, skip=1)
        ids, error = await scene.attempt()
        assert isinstance(error, AmbiguousStartError) == is_final(row)
        if isinstance(error, AmbiguousStartError):
            assert type(error.__cause__) is TransportError  # what the POST met, and not what the look for it did
            await outwait(stage, row)
            ids = [(await error.reconcile()).id]
        assert ids == scene.started
        assert stage.posts == len(ids) == 1


@each_read_fault
async def test_what_is_read_after_the_post_may_fail_for_ever(stage: Stage, tmp_path: Path, row: Row) -> None:
    """The start is in doubt, is not sent again, and is found by an equal one when the service is back."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        stage.sim.fail_next(row.fault or faults.delay(0), method="GET", path=LIST, skip=1, times=None)
        ids, error = await scene.attempt()
        if error is not None:
            assert type(error) is AmbiguousStartError
            stage.sim.clear_faults()
            await outwait(stage, row)
            ids = [await scene.create()]
        assert ids == scene.started
        assert stage.posts == len(ids) == 1


async def test_an_action_that_was_found_may_be_read_in_part(stage: Stage, tmp_path: Path) -> None:
    """Where only the list answers, the action has what was asked of the list, and its ref above all."""
    async with set_scene(stage, Kind.EMAIL, "memory", tmp_path) as scene:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        stage.sim.fail_next(faults.server_error(), path="/bulkemail_", times=None)
        action = await create(scene.close, Kind.EMAIL)
        assert [action.id] == scene.started
        assert action.template_id == "tmpl_1"
        assert "date_updated" in action.unset


# The table itself ---------------------------------------------------------------------------------------------------


def test_the_table_has_every_fault() -> None:
    """Each function of the simulator that makes a fault is in it, and where it can act or not, with both."""
    makers = {name: maker for name, maker in vars(faults).items() if is_maker(maker)}
    met = [row.fault for row in ROWS if row.fault is not None]
    names = {fault.name.partition(" ")[0] for fault in met}
    by_reply = {"server_error", "no_content", "forbidden", "redirect"}  # each a reply with a status of its own
    assert names | by_reply == makers.keys()
    assert {status for fault in met if fault.answer and not fault.acts for status in [fault.answer.status]} >= {
        204, 302, 403, 502,
    }  # fmt: skip
    doubtful = {
        (fault.name, fault.acts) for fault in met if fault.name in {"hang", "reply 204", "reply 302", "reply 502"}
    }
    assert len(doubtful) == 8


def is_maker(value: object) -> bool:
    """Whether it is a function of the module that makes a fault."""
    return inspect.isfunction(value) and inspect.signature(value).return_annotation == "Fault"


def test_the_page_for_readers_is_the_table() -> None:
    """What the documentation says is what these tests hold."""
    assert PAGE.read_text(encoding="utf-8") == render()


if __name__ == "__main__":
    sys.stdout.write(render())
