"""Which request comes next: pages where they are cheaper, single reads where they are not, and nobody forgotten."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import BulkEmail, JobRef, PollPolicy
from closebulk_async.choosing import FEW, PLAN_LASTS, POOR_PAGES, Chooser, Errand, Target
from closebulk_async.models import Kind
from closebulk_async.seeking import Pause
from closebulk_async.wire import MAX_PAGE
from tests.strategies import patient

if TYPE_CHECKING:
    from closebulk_async import CloseBulkError
    from closebulk_async.models import Job as Snapshot

pytestmark = pytest.mark.unmeasured


class Job(Target):
    """A target of which a whole snapshot is known."""

    def __init__(self, name: object, *, interval: float = 1.0) -> None:
        super().__init__(JobRef(Kind.EMAIL, f"bulkemail_{name}"))
        self.interval = interval

    @property
    def whole(self) -> Snapshot | None:
        """Any."""
        return BulkEmail.example()

    def chance_of_end(self, at: float) -> float:
        """The longer its poll is overdue, by the interval of its polls, the more probable."""
        overdue = 0.0 if self.due_since is None else at - self.due_since
        return (overdue + 0.01) / (overdue + 0.01 + 3.0 * self.interval)

    def on_answer(self, action: Snapshot, *, asked_at: float) -> None:
        """Nothing more is done with it here."""

    def on_no_answer(self, error: CloseBulkError, *, asked_at: float) -> None:
        """Nothing more is done with it here."""

    def fail(self, error: Exception) -> None:
        """Nothing more is done with it here."""


@attrs.define
class List:
    """A list of the service's, in which `None` is an action of somebody else's, and the chooser of its requests."""

    rows: list[Job | None]
    chooser: Chooser = attrs.field(factory=Chooser)
    due: list[Job] = attrs.field(factory=list)
    errands: list[Errand] = attrs.field(factory=list)
    is_broken: bool = False
    """Pages show nothing of what they should."""

    def ask(self, *jobs: Job | None, now: float = 0.0, urgent: bool = False) -> None:
        """Let them be due."""
        for job in jobs:
            if job is not None and job.due_since is None:
                job.due_since, job.is_urgent = now, urgent
                self.due.append(job)

    def send(self, now: float = 0.0) -> Errand:
        """Choose one request, answer it, and let those that it showed be due no more."""
        errand = self.chooser.choose([job for job in self.due if job.is_waiting], now=now)
        self.answer(errand, now)
        return errand

    def answer(self, errand: Errand, now: float = 0.0) -> None:
        """Answer a request, and let those that it showed be due no more."""
        self.errands.append(errand)
        for target in errand.targets:
            assert target.is_waiting
        if errand.skip is None:
            self.chooser.note_single()
            shown: list[Target] = list(errand.targets)
        else:
            page = [] if self.is_broken else self.rows[errand.skip : errand.skip + MAX_PAGE]
            seen: list[tuple[Target, int]] = [(job, errand.skip + n) for n, job in enumerate(page) if job is not None]
            self.chooser.learn(
                errand,
                seen,
                n_rows=len(page),
                has_more=errand.skip + MAX_PAGE < len(self.rows) and bool(page),
                watched=[job for job in self.rows if job is not None],
                now=now,
            )
            shown = [target for target, _ in seen]
        self.chooser.end(errand)
        for target in shown:
            target.due_since, target.is_urgent = None, False
        self.due = [job for job in self.due if job.due_since is not None]

    def answer_all(self, now: float = 0.0) -> list[Errand]:
        """Send requests until nobody is due."""
        sent = []
        while self.due:
            sent.append(self.send(now))
            assert len(sent) <= 3 * len(self.rows) + 10
        return sent


def jobs(n: int) -> list[Job | None]:
    """So many jobs of ours."""
    return [Job(number) for number in range(n)]


def settled(rows: list[Job | None]) -> List:
    """A list of which every row of ours was found."""
    listed = List(rows)
    for now in (0.0, 1.0):
        listed.ask(*rows, now=now)
        listed.answer_all(now)
    return listed


# What is sent -----------------------------------------------------------------------------------------------------


def test_one_alone_is_read_alone() -> None:
    """A page would cost the same and show no more."""
    (only,) = rows = jobs(1)
    listed = List(rows)
    for now in range(5):
        listed.ask(only, now=float(now))
        assert [errand.skip for errand in listed.answer_all(float(now))] == [None]


def test_two_new_ones_are_looked_for_on_the_first_page() -> None:
    """What was started a moment ago stands there in the order that is most likely."""
    listed = List([*jobs(2), *[None] * 500])
    listed.ask(*listed.rows)
    assert [(errand.skip, len(errand.targets)) for errand in listed.answer_all()] == [(0, 2)]


def test_a_page_is_not_read_for_one_who_stands_alone_on_it() -> None:
    """After it was seen so, its polls are single reads."""
    near, far = Job("near"), Job("far")
    listed = settled([near, *[None] * 300, far])
    listed.ask(near, far, now=5.0)
    assert {errand.skip for errand in listed.answer_all(5.0)} == {None}


def test_known_rows_take_as_many_pages_as_they_fill() -> None:
    """With a few rows to spare, 90 rows are one page and 250 are three."""
    for n, n_pages in ((90, 1), (250, 3)):
        listed = settled(jobs(n))
        listed.ask(*listed.rows, now=5.0)
        assert [errand.skip is not None for errand in listed.answer_all(5.0)] == [True] * n_pages


def test_only_the_pages_of_those_that_are_due_are_read() -> None:
    """Of a thousand rows, thirty that stand together are one page."""
    listed = settled(jobs(1000))
    listed.ask(*listed.rows[480:510], now=5.0)
    (errand,) = listed.answer_all(5.0)
    assert errand.skip is not None
    assert 480 - 30 <= errand.skip <= 480


def test_rows_that_moved_are_found_where_they_are_now() -> None:
    """Also when they moved while the request waited for its turn."""
    listed = settled([*[None] * 200, *jobs(50)])
    mine = [job for job in listed.rows if job is not None]
    for now in range(5, 65):
        listed.rows[:0] = [None, None]
        listed.ask(*mine, now=float(now))
        (errand,) = listed.answer_all(float(now))
        assert errand.skip is not None


@patient
@given(st.data())
def test_everybody_who_is_due_is_asked_for(data: st.DataObject) -> None:
    """Whatever is known and believed of the list: each request is for somebody, and in the end nobody is due.

    It takes no more requests than one for each, and a bounded number of trials.
    """
    n_rows = data.draw(st.integers(1, 400))
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    share = data.draw(st.sampled_from([0.02, 0.3, 1.0]))
    listed = List([Job(n, interval=rng.uniform(0, 60)) if rng.random() < share else None for n in range(n_rows)])
    mine = [job for job in listed.rows if job is not None]
    for step in range(data.draw(st.integers(1, 6))):
        now = step * data.draw(st.sampled_from([1.0, 40.0]))
        rng.shuffle(listed.rows[:0])
        for _ in range(data.draw(st.integers(0, 20))):
            listed.rows.insert(rng.randrange(len(listed.rows) + 1), None)
        listed.is_broken = data.draw(st.booleans())
        due = [job for job in mine if rng.random() < 0.7]
        listed.ask(*due, now=now)
        sent = listed.answer_all(now)
        assert all(errand.targets for errand in sent)
        assert len(sent) <= len(due) + 16


# Who comes first --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_others", [3, FEW, 5 * FEW])
def test_what_a_timeout_waits_for_comes_first(n_others: int) -> None:
    """Before pages that answer for a hundred; with many due, once the order is made anew."""
    urgent = Job("urgent")
    listed = settled([*jobs(n_others), *[None] * 300, urgent])
    listed.ask(*listed.rows[:n_others], now=5.0)
    listed.send(5.0)
    listed.ask(*listed.rows[:n_others], now=5.0)
    listed.ask(urgent, now=5.1, urgent=True)
    assert urgent in listed.send(5.0 + 1.1 * PLAN_LASTS).targets


def test_what_a_timeout_waits_for_is_not_sought() -> None:
    """Where it is lost it is read alone, and not with the next page of a search that may not show it."""
    lost = [job for job in jobs(20) if job is not None]
    listed = List([*[None] * 900, *lost])
    for job in lost:
        job.misses = 1
    listed.ask(lost[0], now=0.0, urgent=True)
    listed.ask(*lost[1:], now=0.0)
    assert (listed.send(0.1).targets, listed.errands[0].skip) == ([lost[0]], None)


def test_who_is_overdue_is_not_passed_over_for_ever() -> None:
    """With room for a third of what is due, a lonely action far down has its turn before its watch would be lost."""
    lonely = Job("lonely", interval=60.0)
    listed = settled([*jobs(400), *[None] * 300, lonely])
    waits: list[float] = []
    now = 10.0
    listed.ask(lonely, now=now)
    for _ in range(4000):
        now += 0.05 * 10
        listed.ask(*listed.rows[:400], now=now)
        since = lonely.due_since
        if lonely in listed.send(now).targets and since is not None:
            waits.append(now - since)
            listed.ask(lonely, now=now)
    assert max(waits) < PollPolicy().lost_after


def test_of_two_the_one_that_waits_longer_goes_first() -> None:
    """Where both have the same intervals."""
    first, second = Job("first"), Job("second")
    listed = settled([first, *[None] * 300, second])
    listed.ask(second, now=5.0)
    listed.ask(first, now=6.0)
    assert listed.send(7.0).targets == [second]


# What does not work -----------------------------------------------------------------------------------------------


def test_pages_that_show_nothing_are_given_up_for_a_while() -> None:
    """For a minute; a first page that shows nothing again makes it two, and one that works ends that."""
    listed = settled(jobs(50))
    listed.is_broken = True
    tried: list[float] = []
    for now in range(10, 1200):
        listed.ask(*listed.rows, now=float(now))
        tried += [float(now) for errand in listed.answer_all(float(now)) if errand.skip is not None]
    assert len(tried) <= 4 * POOR_PAGES * 5
    gaps = [after - before for before, after in pairwise(tried) if after - before >= 30]
    assert gaps == sorted(gaps)
    assert 60 <= gaps[0] < 70
    listed.is_broken = False
    for now in range(1200, 6000):
        listed.ask(*listed.rows, now=float(now))
        listed.answer_all(float(now))
    assert {errand.skip for errand in listed.errands[-100:]} == {0}


def test_new_ones_are_not_looked_for_where_they_never_stand() -> None:
    """In a list that has the oldest first, the first page is tried a few times a minute, not for each."""
    listed = List([None] * 1000)
    first_pages = 0
    for now in range(60):
        new = [Job(f"{now:.0f}_{number}") for number in range(2)]
        listed.rows += new
        listed.ask(*new, now=float(now))
        first_pages += sum(errand.skip == 0 for errand in listed.answer_all(float(now)))
    assert 1 <= first_pages <= 5


def test_pages_that_are_shunned_are_not_read() -> None:
    """Everybody is asked for alone, for a minute; after a page that worked the next time is as short."""
    listed = settled(jobs(30))
    for begin in (10.0, 100.0):
        listed.chooser.shun_pages(begin)
        for now, is_alone in ((begin, True), (begin + 59.9, True), (begin + 60.1, False)):
            listed.ask(*listed.rows, now=now)
            assert {errand.skip is None for errand in listed.answer_all(now)} == {is_alone}


def test_a_page_that_fails_is_followed_by_a_single_read() -> None:
    """Where that succeeds, a page is tried again: the ones fail, the others do not, and pages are given up for a while.

    Until one succeeds, nobody is to blame but the service.
    """
    listed = settled(jobs(30))
    chooser = listed.chooser
    listed.ask(*listed.rows, now=10.0)

    def asks_for_a_page(now: float) -> bool:
        return chooser.choose(listed.due, now=now).skip is not None

    assert asks_for_a_page(10.0)
    chooser.note_failure(10.0)
    for now in range(10, 40):
        assert not asks_for_a_page(float(now))
        chooser.note_failure(float(now))  # of another page that was under way
    for now in range(40, 40 + POOR_PAGES):
        chooser.note_single()
        assert asks_for_a_page(float(now))
        chooser.note_failure(float(now))
    assert not asks_for_a_page(50.0)
    chooser.note_single()
    assert not asks_for_a_page(50.0)
    assert asks_for_a_page(110.0)


def test_a_page_that_is_answered_ends_the_doubt() -> None:
    """Failures that were followed by good pages do not add up."""
    listed = settled(jobs(30))
    for now in range(10, 100):
        listed.ask(*listed.rows, now=float(now))
        listed.chooser.note_failure(float(now))
        assert [errand.skip for errand in listed.answer_all(float(now))] == [None, 0]


def test_who_is_lost_is_sought() -> None:
    """Page after page, each where the one before has ended, as long as that finds enough; then not for a while."""
    lost = jobs(40)
    listed = List([*[None] * 150, *lost, *[None] * 1000])
    for job in lost:
        if job is not None:
            job.misses = 1
    listed.ask(*lost)
    sent = listed.answer_all()
    assert [errand.skip for errand in sent if errand.is_search][:2] == [0, pytest.approx(98, abs=4)]
    assert len(sent) <= 4
    listed.ask(*lost, now=1.0)
    assert [errand.is_search for errand in listed.answer_all(1.0)] == [False]


def test_a_search_in_vain_ends() -> None:
    """Actions that stand in no list are read one by one, with four pages in between, and a minute later four more."""
    ghosts = [Job(number) for number in range(10)]
    listed = List([None] * 5000)
    n_pages = []
    for now in range(200):
        listed.ask(*ghosts, now=float(now))
        sent = listed.answer_all(float(now))
        assert len(sent) <= 10 + 5
        n_pages.append(sum(errand.skip is not None for errand in sent))
    assert 1 <= sum(n_pages[:60]) <= 10
    assert sum(n_pages) <= 30


def test_a_search_goes_on_where_few_rows_are_ones_own() -> None:
    """Three rows in two pages are enough; half of the requests are for others meanwhile."""
    rows = [Job(number) if number % 66 == 0 else None for number in range(20_000)]
    listed = List(rows)
    for job in rows:
        if job is not None:
            job.misses = 1
    listed.ask(*rows)
    sent = listed.answer_all()
    n_sought = sum(errand.is_search for errand in sent)
    assert n_sought > 100
    assert all(not (one.is_search and other.is_search) for one, other in pairwise(sent) if len(one.targets) > 1)
    found = [job for job in rows if job is not None and job.place is not None]
    assert len(found) > 150


def test_first_pages_under_way_together_judge_new_ones_once() -> None:
    """Many old actions that nobody knows are no reason to look for new ones elsewhere."""
    rows: list[Job | None] = [*[None] * 1000, *jobs(1000)]
    listed = List(rows)
    listed.ask(*rows)
    together = []
    for _ in range(4):
        errand = listed.chooser.choose([job for job in listed.due if job.is_waiting], now=0.0)
        for target in errand.targets:
            target.errand = errand
        together.append(errand)
    assert [errand.skip for errand in together] == [0] * 4
    for errand in together:
        listed.chooser.learn(errand, [], n_rows=MAX_PAGE, has_more=True, watched=(), now=0.0)
        listed.chooser.end(errand)
        for target in errand.targets:
            target.errand = None
    newest = [Job(f"new{number}") for number in range(2)]
    listed.rows[:0] = newest
    listed.due = []
    listed.ask(*newest, now=1.0)
    assert listed.send(1.0).skip == 0
    assert not listed.due


def test_actions_at_the_end_of_a_long_list_are_found() -> None:
    """The end takes some twenty requests to find; from then on new ones are looked for there."""
    rows: list[Job | None] = [*[None] * 50_000, *jobs(1000)]
    listed = List(rows)
    listed.ask(*rows)
    sent = listed.answer_all()
    assert len(sent) < 80
    for now in (1.0, 2.0, 3.0):
        newest = [Job(f"{now:.0f}_{number}") for number in range(30)]
        listed.rows += newest
        listed.ask(*newest, now=now)
        assert [len(errand.targets) for errand in listed.answer_all(now)] == [30]
    listed.ask(*rows, now=10.0)
    assert len(listed.answer_all(10.0)) <= 15  # 11 pages, and what stands just outside of them


def test_few_are_not_sought_at_the_end() -> None:
    """They cost less than to find it."""
    rows: list[Job | None] = [*[None] * 50_000, *jobs(20)]
    listed = List(rows)
    listed.ask(*rows)
    assert len(listed.answer_all()) <= 20 + 5


def test_an_end_that_cannot_be_read_is_not_sought_again() -> None:
    """A service that refuses rows so far on still shows pages from the beginning."""
    rows: list[Job | None] = [*[None] * 50_000, *jobs(1000)]
    listed = List(rows)
    listed.ask(*rows)
    while True:
        errand = listed.chooser.choose([job for job in listed.due if job.is_waiting], now=0.0)
        if errand.skip is not None and errand.skip >= 1000:
            break
        listed.answer(errand)
    listed.chooser.note_refusal(errand, 0.0)
    listed.chooser.end(errand)
    sent = listed.answer_all()
    assert all(errand.skip is None or errand.skip < 1000 for errand in sent)
    newest = [Job("new0"), Job("new1")]
    listed.rows[:0] = newest
    listed.ask(*newest, now=100.0)
    assert listed.send(100.0).skip == 0


def test_only_one_page_of_a_search_is_under_way() -> None:
    """The next one begins where it ends; while it is awaited, those that it is for are not asked for twice."""
    lost = [job for job in jobs(300) if job is not None]
    chooser = Chooser()
    for job in lost:
        job.misses, job.due_since = 1, 0.0
    first = chooser.choose(lost, now=0.0)
    assert first.is_search
    for target in first.targets:
        target.errand = first
    rest = [job for job in lost if job.is_waiting]
    assert not chooser.choose(rest, now=0.0).is_search
    chooser.end(first)
    assert chooser.choose(rest, now=0.0).is_search


def test_a_pause_doubles_up_to_an_hour() -> None:
    """From a minute on, and once it worked from a minute again."""
    pause, lengths = Pause(), []
    assert pause.is_over(0.0)
    for _ in range(9):
        pause.begin(0.0)
        length = next(s for s in range(10**5) if pause.is_over(float(s)))
        lengths.append(length)
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    pause.end()
    pause.begin(0.0)
    assert pause.is_over(60.0)
