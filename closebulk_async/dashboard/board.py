"""The state of the dashboard: one card for each action, versions, and what has changed since which of them.

Pure: no network, no loop, and time comes in. A version is a number that each change raises; each card keeps that of its
own last change. So whoever says which version they have gets what has changed since, however long they were away, and
nobody keeps a queue for them.
"""

from __future__ import annotations

import itertools
import secrets
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import attrs

from closebulk_async.dashboard.cards import Card, read_end, was_read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from closebulk_async.intents import Intent
    from closebulk_async.models import Job, JobRef
    from closebulk_async.progress import Progress

MOST_ENDED = 500
"""Cards of actions that have ended or are lost. Beyond, the one that ended first goes."""

MOST_REMOVED = 1000
"""Removed cards that are remembered: who was away for longer gets everything anew."""

UNSEEN_FOR = timedelta(seconds=60)
"""Where polls show nothing new, a card tells so rarely that they were answered."""


@attrs.frozen(kw_only=True)
class Link:
    """Whether Close answers: since when it is so, and when it last did."""

    status: Literal["connecting", "ok", "error"]
    since: datetime
    message: str | None = None
    last_ok_at: datetime | None = None


class Place(NamedTuple):
    """Where a part ends: the versions up to which cards are told, and removals are told or were of nothing told."""

    cards: int
    removals: int


@attrs.frozen
class Changes:
    """What has changed between two versions, or the first part of that. With `is_reset` it is everything there is.

    `since` is the version from which samples count, `place` where this part ends; where it `is_whole`, that is the
    board's version.
    """

    since: int
    place: Place
    is_reset: bool
    is_whole: bool
    cards: Sequence[Card]
    removed: Sequence[str]


class Board:
    """All cards."""

    def __init__(self, *, now: datetime, most_ended: int = MOST_ENDED, most_removed: int = MOST_REMOVED) -> None:
        """Know nothing. Versions of another board, before a restart say, are told from its own by the epoch."""
        self._most_ended = most_ended
        self._most_removed = most_removed
        self.epoch: str = secrets.token_hex(8)
        self.version: int = 0
        self.link: Link = Link(status="connecting", since=now)
        self.starts: tuple[Intent, ...] | None = None
        """Open starts of the journal that have no action; None without a durable journal."""
        self.forbidden: frozenset[str] = frozenset()
        """The kinds that the key may not read."""
        self._cards: OrderedDict[JobRef[Any], Card] = OrderedDict()
        """The one that changed last comes last."""
        self._ended: list[tuple[datetime, str, JobRef[Any]]] = []
        self._removed: deque[tuple[int, JobRef[Any]]] = deque()
        self._forgotten = 0
        """The version of the newest removal that is remembered no more."""

    # What is read ---------------------------------------------------------------------------------------------------

    @property
    def cards(self) -> Iterator[Card]:
        """All of them, in the order of their last change."""
        return iter(self._cards.values())

    def find(self, ref: JobRef[Any]) -> Card | None:
        """The card of an action, if there is one."""
        return self._cards.get(ref)

    def name_version(self, version: int) -> str:
        """A version as text, which no other board takes for one of its own."""
        return f"{self.epoch}:{version}"

    def parse_version(self, text: str | None) -> int | None:
        """The version that a text names; None where it is none of this board's."""
        epoch, colon, number = (text or "").partition(":")
        if not colon or epoch != self.epoch or not (number.isascii() and number.isdigit()):
            return None
        version = int(number[: len(str(self.version)) + 1])  # a number of a million digits takes a second to read
        return version if version <= self.version else None

    def changes_since(self, version: int | None, *, after: Place | None = None, most: int | None = None) -> Changes:
        """What has changed since a version; everything where that is None or too long ago.

        With `most`, at most so many cards, those whose last change is oldest; the next part is what comes `after` the
        place of this one. Each part has the samples since the version at which all parts began.
        """
        if after is not None and after.removals < self._forgotten:
            version = after = None
        is_anew = version is None or version < self._forgotten
        since = 0 if is_anew or version is None else version
        # Who begins anew was told nothing yet that could have been removed by now, however old the cards are.
        told = after or Place(since, self.version if is_anew else since)
        cards = list(itertools.takewhile(lambda card: card.version > told.cards, reversed(self._cards.values())))[::-1]
        is_whole = most is None or len(cards) <= most
        cards = cards if is_whole else cards[:most]
        upto = self.version if is_whole else cards[-1].version
        removed = itertools.takewhile(lambda each: each[0] > told.removals, reversed(self._removed))
        gone = dict.fromkeys(str(ref) for at, ref in removed if at <= upto and ref not in self._cards)
        place = Place(upto, max(upto, told.removals))
        return Changes(since, place, is_anew and after is None, is_whole, cards, tuple(gone)[::-1])

    # What polls show ------------------------------------------------------------------------------------------------

    def note_progress(self, progress: Progress[Any], *, now: datetime) -> bool | None:
        """Take in a step of a watch. True where it tells of a good poll, False of a bad one, None of neither."""
        card = self._cards.get(progress.ref)
        is_first = card is None
        if card is None:
            card = Card(ref=progress.ref, job=progress.action, phase="running", seen_at=now)
        answered = card.tell_answer(progress, is_first=is_first)
        error_is_new = progress.last_error is not card.failure
        card.is_followed, card.polls, card.failure = True, progress.polls, progress.last_error
        if answered:
            card.seen_at = now
        if error_is_new and progress.last_error is not None:
            card.failed_at = now
        is_stale = card.told_at is None or card.seen_at - card.told_at >= UNSEEN_FOR
        if is_first or progress.changed or progress.is_final or error_is_new or is_stale:
            card.fill(progress)
            self._put(card, now=now)
        return answered

    def note_job(self, job: Job, *, now: datetime) -> None:
        """Take in a row of a list, which may be older than what is known: it tells only of what nobody follows."""
        card = self._cards.get(job.ref)
        if card is not None:
            is_known = card.phase in {"done", "failed"} or (card.is_live and card.is_followed)
            if is_known or not job.is_final:
                return
        ended_at = read_end(job) or now if job.is_final else None
        if card is None:
            if ended_at is not None and self._is_too_old(ended_at):
                return
            card = Card(ref=job.ref, job=job, phase="running", seen_at=now)
        card.ended_at = ended_at
        card.show(job, now=now)
        self._put(card, now=now)

    def note_change(self, job: Job, *, now: datetime) -> Card:
        """Take in an action as the answer to a pause or a resumption has it."""
        card = self._cards.get(job.ref) or Card(ref=job.ref, job=job, phase="running", seen_at=now)
        card.show(job, now=now)
        self._put(card, now=now)
        return card

    def _put(self, card: Card, *, now: datetime) -> None:
        """Make what a card shows now its next version."""
        self.version += 1
        card.version, card.told_at = self.version, card.seen_at
        card.ended_at = (card.ended_at or now) if was_read(card.job) and card.job.is_final else None
        card.add_sample(now=card.ended_at or now)
        card.add_moment(now=card.ended_at or now)
        self._cards[card.ref] = card
        self._cards.move_to_end(card.ref)
        self._keep(card)

    def _keep(self, card: Card) -> None:
        """Let the oldest of those that have ended go where they are too many."""
        by = card.ended_at or card.seen_at if not card.is_live else None
        if by != card.kept_by:
            if card.kept_by is not None:
                self._ended.remove((card.kept_by, str(card.ref), card.ref))
            if by is not None:
                insort(self._ended, (by, str(card.ref), card.ref), key=_BY_END)
            card.kept_by = by
        while len(self._ended) > self._most_ended:
            _, _, ref = self._ended.pop(0)
            del self._cards[ref]
            self.version += 1
            self._removed.append((self.version, ref))
            if len(self._removed) > self._most_removed:
                self._forgotten, _ = self._removed.popleft()

    def _is_too_old(self, ended_at: datetime) -> bool:
        return len(self._ended) >= self._most_ended and ended_at <= self._ended[0][0]

    # What else there is to tell -------------------------------------------------------------------------------------

    def note_answer(self, *, now: datetime) -> None:
        """Close has answered."""
        if self.link.status == "ok":
            self.link = attrs.evolve(self.link, last_ok_at=now)  # that alone is worth no version
        else:
            self.link = Link(status="ok", since=now, last_ok_at=now)
            self.version += 1

    def note_failure(self, message: str, *, now: datetime) -> None:
        """Close cannot be talked to, or refuses to."""
        if self.link.status == "error" and self.link.message == message:
            return
        since = self.link.since if self.link.status == "error" else now
        self.link = Link(status="error", since=since, message=message, last_ok_at=self.link.last_ok_at)
        self.version += 1

    def note_forbidden(self, kind: str, *, is_forbidden: bool) -> None:
        """The key may not read a kind, or may do so again."""
        forbidden = self.forbidden | {kind} if is_forbidden else self.forbidden - {kind}
        if forbidden != self.forbidden:
            self.forbidden = forbidden
            self.version += 1

    def note_starts(self, starts: Sequence[Intent]) -> None:
        """What the journal holds open without an action."""
        if self.starts != (starts := tuple(starts)):
            self.starts = starts
            self.version += 1


_BY_END = itemgetter(0, 1)
