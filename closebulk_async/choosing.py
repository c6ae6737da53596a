"""Which request answers most of the polls that are due: one page of a list, or one action alone. Without I/O.

A page costs the budget what one action costs, so a page is worth it where it shows two that are watched. What the
chooser believes about the list is put to the test by each page that it has read: where pages do not show what they
should, it stops reading any for a while, and every action is polled alone.
"""

from __future__ import annotations

from bisect import insort
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Literal

import attrs

from closebulk_async.listing import Listing
from closebulk_async.seeking import Pause, Search
from closebulk_async.wire import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from closebulk_async.errors import CloseBulkError
    from closebulk_async.models import Job, JobRef

AGEING = 20.0
"""Seconds overdue that weigh as much as one more action that has surely ended, and twice as many four times as much.

So a few seconds hardly count beside what a page is likely to bring, and nobody is passed over for long.
"""

LEAST = 0.01
"""What a due poll weighs whose action has surely not ended."""

URGENT = 1e6
"""The weight of a poll that somebody's timeout waits for: more than any page has."""

PLAN_LASTS = 0.5
"""Seconds for which the order of the due polls is kept, where so many are due that making it costs something."""

BEHIND = 2.0
"""Seconds for which a poll has waited when there is less room than is needed: then the best page goes first."""

FEW = 64
"""Due polls up to which the order is made anew for each request."""

POOR_PAGES = 4
"""Pages that showed less than half of what they were read for, and less than is worth a page, above the good ones,
until no more are read."""

SEARCH = 1e5
"""The weight of a page of a search, when it is its turn: more than any has that shows what is known to stand there."""

WORTH_A_PAGE = 2
"""Actions that a page has to show to be cheaper than asking for each."""


class Target:
    """An action that is polled, and what is known of its place in the list."""

    __slots__ = ("company", "due_since", "errand", "is_urgent", "misses", "place", "ref")

    def __init__(self, ref: JobRef[Any]) -> None:
        """Not due, and nobody knows where it stands."""
        self.ref: JobRef[Any] = ref
        self.place: float | None = None
        """Where it stands, as `Listing` counts."""
        self.company: int = 0
        """How many watched actions the page showed on which it was seen last, itself included."""
        self.misses: int = 0
        """Pages in a row that should have shown it and did not."""
        self.due_since: float | None = None
        """Since when a poll of it is due that no answer has come to yet; None where none is."""
        self.is_urgent: bool = False
        self.errand: Errand | None = None
        """The request under way that was sent for it."""

    @property
    def is_waiting(self) -> bool:
        """Its poll is due, and waits for a request."""
        return self.due_since is not None and self.errand is None

    @property
    def whole(self) -> Job | None:
        """The latest snapshot with all fields, to lay a narrowed one over; None where there is none."""
        raise NotImplementedError

    def chance_of_end(self, at: float) -> float:
        """How probable it is, between 0 and 1, that the action has ended by `at`; 1 where nothing is known of it."""
        raise NotImplementedError

    def on_answer(self, action: Job, *, asked_at: float) -> None:
        """Take in what a request showed that was sent at `asked_at`, be it for this action or for others."""
        raise NotImplementedError

    def on_no_answer(self, error: CloseBulkError, *, asked_at: float) -> None:
        """Take in that a request that was sent for it brought nothing."""
        raise NotImplementedError

    def blame(self, error: CloseBulkError) -> None:
        """Take in why no poll comes: another one has met a limit."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """End: it can be polled no longer."""
        raise NotImplementedError


@attrs.define(eq=False)
class Errand:
    """One request, and for whom it is sent. `skip` is the first row of a page, None for one action alone."""

    targets: list[Target]
    skip: int | None = None
    is_search: bool = False
    """It reads on in the list, to find actions that stand nobody knows where."""
    value: float = 0.0
    place: float | None = None
    """Of the first of them; the row at which that is, and so `skip`, is worked out when the request is sent."""

    def has_missed(self, target: Target) -> bool:
        """A page has not shown it since this errand was thought of, so that this one would not either."""
        return self.place is not None and target.place is None and target.misses > 0

    @property
    def wants_whole(self) -> bool:
        """Some of them need all fields: there is nothing yet over which a narrowed row could be laid."""
        return any(target.whole is None for target in self.targets)


class Chooser:
    """Chooses the requests of one kind."""

    def __init__(self) -> None:
        """Know nothing of the list."""
        self._listing = Listing()
        self._search = Search(self._listing)
        self._plan: list[Errand] = []
        self._planned_at = 0.0
        self._lost: list[Target] = []
        """Due, by the latest plan, and nobody knows where they stand."""
        self._awaited: Sequence[Target] = ()
        """New ones that were expected where new rows appear, by the latest plan."""
        self._poor_pages = 0
        self._trial: Literal["alone", "page"] | None = None
        """After a page that failed: an action alone is to show whether the service answers, and then a page again."""
        self._pages = Pause()
        self._newcomers_lead = 1.0
        """The share of new actions that stood where new rows appear, of late."""
        self._newcomers = Pause()
        self._newest_page_shows = 0

    def choose(self, due: Sequence[Target], *, now: float) -> Errand:
        """What to ask for next. `due` is not empty, and those that have waited longest come first."""
        self._listing.advance(now)
        if len(due) <= FEW or not self._plan or now - self._planned_at > PLAN_LASTS:
            self._plan = sorted(self._make_plan(due, now), key=attrgetter("value"))
            self._planned_at = now
        # What a timeout waits for is read alone: a page of the search may not show it.
        self._lost = [one for one in self._lost if one.is_waiting and one.place is None and not one.is_urgent]
        if self._trial == "alone":
            return Errand([due[0]])
        search = self._propose_search(now)
        while self._plan and (search is None or self._plan[-1].value > search.value):
            errand = self._plan.pop()
            left = [target for target in errand.targets if target.is_waiting and not errand.has_missed(target)]
            if len(left) == len(errand.targets):
                return self._find_row(errand)
            if left:  # another page has shown the others: it may be worth less than the next one now
                insort(self._plan, _together(left, errand.place, now), key=attrgetter("value"))
        return Errand([due[0]]) if search is None else self._find_row(search)

    def _propose_search(self, now: float) -> Errand | None:
        if not self._pages.is_over(now):
            return None
        value = SEARCH if self._search.is_its_turn else 0.0
        self._search.is_its_turn = True  # unless this one is read
        place = self._search.propose(len(self._lost), now)
        if place is None:
            return None
        return Errand(self._lost[:MAX_PAGE], place=place, is_search=True, value=value)

    def _find_row(self, errand: Errand) -> Errand:
        """Say where its page begins, by what is known now: rows come while an errand waits for its turn."""
        if errand.place is not None:
            before, _ = self._listing.margins
            errand.skip = max(0, int(self._listing.index_of(errand.place) - before))
        if errand.is_search:
            self._search.begin()
        return errand

    def note_refusal(self, errand: Errand, now: float) -> None:
        """A page is refused, and will be: none is read for a while, unless a search had only gone too far."""
        if not (errand.is_search and self._search.refuse(now)):
            self.shun_pages(now)

    def shun_pages(self, now: float) -> None:
        """Read none for a while."""
        self._pages.begin(now)
        self._poor_pages, self._trial = 0, None
        self._plan = []

    def note_failure(self, now: float) -> None:
        """A page has failed for a reason that may pass. Where single reads succeed meanwhile, it does not."""
        if self._trial == "page":
            self._poor_pages += 1
        self._trial = "alone"
        if self._poor_pages >= POOR_PAGES:
            self.shun_pages(now)

    def note_single(self) -> None:
        """An action alone was read."""
        if self._trial is not None:
            self._trial = "page"

    def end(self, errand: Errand) -> None:
        """For each errand once, when its request has been answered, has failed or was given up."""
        if errand.is_search:
            self._search.end()

    def learn(
        self,
        errand: Errand,
        seen: Sequence[tuple[Target, int]],
        *,
        n_rows: int,
        has_more: bool,
        watched: Iterable[Target],
        now: float,
    ) -> None:
        """Take in what a page showed: the watched actions and the row of each."""
        self._listing.advance(now)
        self._trial = None
        has_changed = self._listing.learn([(place, row) for target, row in seen if (place := target.place) is not None])
        if has_changed:
            self._search.restart()
            for target in watched:
                target.place = None
        self._judge(errand, {target for target, _ in seen}, n_rows=n_rows, has_more=has_more, now=now)
        for target, row in seen:
            target.place, target.company, target.misses = self._listing.place_of(row), len(seen), 0

    def _judge(self, errand: Errand, seen: set[Target], *, n_rows: int, has_more: bool, now: float) -> None:
        """Whether the page was worth it, before what it showed is taken in."""
        missing = [target for target in errand.targets if target not in seen]
        tail = self._search.tail
        if errand.skip == 0 if tail is None else not has_more:
            self._newest_page_shows = len(seen)
            # More may have been expected there than one errand is sent for.
            missing += [target for target in self._awaited if target not in seen and _is_new(target)]
            self._awaited = []
        if errand.is_search:
            found = sum(target.place is None for target in seen)
            self._search.learn(found=found, began_at=errand.skip or 0, n_rows=n_rows, has_more=has_more, now=now)
            if tail is None and self._search.tail is not None:
                self._newcomers, self._newcomers_lead = Pause(), 1.0  # now it is known where they stand
        else:
            if tail is not None:
                self._search.tail = max(tail, (errand.skip or 0) + n_rows)
            self._judge_newcomers([target for target in errand.targets if _is_new(target)], seen, now)
            known = [target for target in errand.targets if target.place is not None]
            if known:
                n_shown = sum(target in seen for target in known)
                is_poor = 2 * n_shown < len(known) and n_shown < WORTH_A_PAGE
                self._poor_pages = self._poor_pages + 1 if is_poor else max(0, self._poor_pages - 1)
                if not is_poor:
                    self._pages.end()
        for target in dict.fromkeys(missing):
            target.place = None
            target.misses += 1
        if self._poor_pages >= POOR_PAGES:
            self.shun_pages(now)

    def _judge_newcomers(self, newcomers: Sequence[Target], seen: set[Target], now: float) -> None:
        if not newcomers:
            return
        share = sum(target in seen for target in newcomers) / len(newcomers)
        self._newcomers_lead = (self._newcomers_lead + share) / 2
        if self._newcomers_lead >= 0.5:  # noqa: PLR2004 - rather than not
            self._newcomers.end()
        else:
            self._newcomers.begin(now)
            self._newcomers_lead = 1.0  # for the next try

    # The plan -------------------------------------------------------------------------------------------------------

    def _make_plan(self, due: Sequence[Target], now: float) -> Iterator[Errand]:
        if not self._pages.is_over(now):
            yield from (_alone(target, now) for target in due)
            return
        newcomers = [target for target in due if _is_new(target)]
        lost = [target for target in due if target.place is None and target.misses]
        standing = [(place, target) for target in due if (place := target.place) is not None]
        if newcomers and self._is_newest_page_worth(len(newcomers), now):
            self._awaited = newcomers
            if self._search.tail is None:
                front = self._listing.place_of(0)
                standing += [(front, target) for target in newcomers]
            else:  # not together with those before them: a page that began there might end among the new ones
                yield _together(newcomers[:MAX_PAGE], self._listing.place_of(self._search.tail), now)
        else:
            lost += newcomers
        yield from self._make_pages(standing, now, is_behind=now - (due[0].due_since or now) > BEHIND)
        yield from (_alone(target, now) for target in lost)
        self._lost = lost

    def _is_newest_page_worth(self, n_newcomers: int, now: float) -> bool:
        return self._newcomers.is_over(now) and max(n_newcomers, self._newest_page_shows) >= WORTH_A_PAGE

    def _make_pages(self, standing: list[tuple[float, Target]], now: float, *, is_behind: bool) -> Iterator[Errand]:
        """The pages that show those that stand somewhere.

        As few as will do, from the first row on. Where `is_behind`, and not all can be read soon, every page that
        begins with one of them: they overlap, and the best goes first.
        """
        standing.sort(key=itemgetter(0))
        targets = [target for _, target in standing]
        rows = [self._listing.index_of(place) for place, _ in standing]
        weights = [_weigh(target, now) for target in targets]
        span = MAX_PAGE - sum(self._listing.margins)
        value, end = 0.0, 0
        for first, (place, _) in enumerate(standing):
            is_covered = first < end and not is_behind
            while not is_covered and end < min(len(rows), first + MAX_PAGE) and rows[end] < rows[first] + span:
                value += weights[end]
                end += 1
            if not is_covered and (not first or rows[first] > rows[first - 1] or not is_behind):
                yield _page(targets[first:end], place, value)
            value -= weights[first]


def _is_new(target: Target) -> bool:
    return target.place is None and not target.misses


def _together(targets: list[Target], place: float | None, now: float) -> Errand:
    return _page(targets, place, sum(_weigh(target, now) for target in targets))


def _page(targets: list[Target], place: float | None, value: float) -> Errand:
    if len(targets) == 1 and targets[0].place is not None and targets[0].company < WORTH_A_PAGE:
        return Errand(targets, value=value)
    return Errand(targets, place=place, value=value)


def _alone(target: Target, now: float) -> Errand:
    return Errand([target], value=_weigh(target, now))


def _weigh(target: Target, now: float) -> float:
    if target.is_urgent:
        return URGENT
    overdue = 0.0 if target.due_since is None else now - target.due_since
    return LEAST + target.chance_of_end(now) + (overdue / AGEING) ** 2
