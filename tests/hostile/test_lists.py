"""Lists and logs that lead nowhere, and dates at the edges of all calendars: every reading of them ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import AmbiguousStartError, BulkEmail, CloseBulkError, DecodeError
from closebulk_async.listing import MOST_ROWS, REPEATED_PAGES, TailFinder
from closebulk_async.models import Kind
from tests.hostile.answers import whole
from tests.hostile.bodies import PAGES, WRONG, dump, odd_events, same_for_ever
from tests.hostile.calls import FEW, READS, REFS, connect
from tests.hostile.judging import judge, try_all
from tests.hostile.servers import Asked, honest, hostile, response
from tests.stage import create

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async.testing import FakeClock
    from tests.hostile.servers import Piece

ROW = BulkEmail.example(id="bulkemail_1", status="processing").to_dict()
DATES = ["the first year", "before the first year", "the last year", "after the last year", "null"]
LISTS = {"iterate", "recent", "recent, active", "watch what runs", "search", "search, sorted", "outcomes of edit"}


async def test_the_same_page_for_ever() -> None:
    """That a list goes on is believed for ten pages without a new row; then reading it fails."""
    page = whole(response(dump(same_for_ever(ROW))))
    verdict = await try_all(page, only=LISTS.__contains__)
    assert {name for name, error in verdict.errors.items() if isinstance(error, DecodeError)} >= LISTS - {
        "search",
        "search, sorted",
    }
    assert all(isinstance(error, CloseBulkError) for error in verdict.errors.values())
    assert len(verdict.asked) < len(LISTS) * 60


async def test_a_start_from_a_list_without_an_end() -> None:
    """Is not sent: no fence can be taken."""
    page = whole(response(dump(same_for_ever(ROW))))
    verdict = await try_all(page, only=lambda call: call.startswith("start "))
    assert set(map(type, verdict.errors.values())) == {DecodeError}
    assert sum(verdict.posts.values()) == 0


async def test_a_few_pages_without_a_new_row_are_borne(clock: FakeClock) -> None:
    """As when many rows come while a list is read: what follows is given."""
    rows = [[ROW]] * REPEATED_PAGES + [[{**ROW, "id": "bulkemail_2"}]]
    answers = iter(dump({"data": row, "has_more": n + 1 < len(rows)}) for n, row in enumerate(rows))

    def page() -> Iterable[Piece]:
        return [response(next(answers))]

    async with hostile(clock, page) as server, connect(server, clock) as close:
        assert [row.id async for row in close.emails.iterate()] == ["bulkemail_1", "bulkemail_2"]


def test_a_search_for_the_end_of_a_list_without_one_ends() -> None:
    """By doubling, the number of the row grows beyond what a float can hold; no list has so many."""
    finder = TailFinder(known=100, page_size=100)
    for _ in range(60):
        if finder.length is None:
            finder.learn(began_at=finder.probe, n_rows=100, has_more=True)
    assert finder.length is not None
    assert MOST_ROWS < finder.length < 4 * MOST_ROWS


@pytest.mark.parametrize("name", list(PAGES))
async def test_pages_that_are_none(name: str) -> None:
    """Each call ends with an error of the package, or without one."""
    await try_all(whole(response(dump(PAGES[name]))), only=FEW.__contains__)


@pytest.mark.parametrize("name", DATES)
async def test_a_lost_answer_beside_rows_of_impossible_dates(clock: FakeClock, name: str) -> None:
    """The fence is taken by the dates of rows where no answer says the time; the start ends, in doubt."""
    row = {**ROW, "date_created": WRONG[name]}
    other = {**row, "id": "bulkemail_2", "template_id": "tmpl_2"}

    def answer(asked: Asked) -> bytes:
        if asked.method == "POST":
            return response(b"", status="502 Bad Gateway")
        rows = [row, other] if server.count("POST") else [row]
        return response(dump({"data": rows, "has_more": False})) if asked.path.startswith("/bulk") else honest(asked)

    def pieces() -> Iterable[Piece]:
        return [answer(server.asked[-1])]

    async with hostile(clock, pieces) as server, connect(server, clock) as close:
        with pytest.raises((AmbiguousStartError, DecodeError)) as caught:
            await create(close, Kind.EMAIL)
        is_readable = isinstance(caught.value, AmbiguousStartError)
        assert server.count("POST") == is_readable
        assert is_readable is (not name.startswith(("before", "after")))


@pytest.mark.parametrize("field", ["date_created", "date_updated"])
@pytest.mark.parametrize("name", DATES)
async def test_outcomes_of_an_action_of_impossible_dates(name: str, field: str) -> None:
    """The log is read all the same, from its beginning or to its end."""
    action = {**ROW, "status": "done", field: WRONG[name], "data": [], "cursor_next": None}
    verdict = await try_all(whole(response(dump(action))), only={"outcomes of email"}.__contains__)
    is_readable = not name.startswith(("before", "after"))
    assert (verdict.errors["outcomes of email"] is None) is is_readable


async def test_events_that_are_none(clock: FakeClock) -> None:
    """Whatever their fields hold, an outcome is made of what can be read, or reading fails with a DecodeError."""
    shown: dict[str, Any] = {}
    async with (
        hostile(clock, whole(b""), spares=lambda asked: "/event/" not in asked.path) as server,
        connect(server, clock) as close,
    ):
        for name, row in odd_events(REFS[Kind.DELETE].partition(":")[2]):
            server.script = whole(response(dump({"data": [row], "cursor_next": None})))
            shown[name] = await judge(READS["outcomes of delete"], close)
    assert {type(error) for error in shown.values()} == {type(None), DecodeError}
    assert shown["event: changed_fields is an integer"] is None
