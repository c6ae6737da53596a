"""Where actions stand in a list that grows: predictions from nothing but the pages that were read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.listing import LARGEST_MARGIN, Listing, TailFinder

histories = st.lists(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 10**5)), max_size=5), max_size=30)
"""Pages of any content: the place and the row of each action on them."""


def learned(history: list[list[tuple[float, int]]]) -> Listing:
    """What is known after these pages."""
    listing = Listing()
    for page in history:
        listing.learn(page)
    return listing


class Growing:
    """A list that grows, of which some rows are known by name; a page shows them all."""

    def __init__(self, n_rows: int) -> None:
        self.rows: list[int | None] = [*range(n_rows)]
        self.listing = Listing()
        self.places = {name: self.listing.place_of(row) for row, name in self.known()}

    def known(self) -> list[tuple[int, int]]:
        """Row and name of each known one."""
        return [(row, name) for row, name in enumerate(self.rows) if name is not None]

    def hits(self) -> float:
        """The share of the known rows that stand where they are looked for."""
        before, after = self.listing.margins
        predicted = [(row, self.listing.index_of(self.places[name])) for row, name in self.known()]
        return sum(at - before <= row <= at + after for row, at in predicted) / len(predicted)

    def read(self) -> bool:
        """Learn from one page and, as those who watch do, keep the new places."""
        has_changed = self.listing.learn([(self.places[name], row) for row, name in self.known()])
        self.places = {name: self.listing.place_of(row) for row, name in self.known()}
        return has_changed


@given(histories, st.floats(0, 1e5))
def test_a_place_is_a_row_of_its_time(history: list[list[tuple[float, int]]], row: float) -> None:
    """Whatever was learned, what stands at a row now is looked for at that row."""
    listing = learned(history)
    assert listing.index_of(listing.place_of(row)) == pytest.approx(row, abs=1e-3)


@given(histories)
def test_margins_are_bounded(history: list[list[tuple[float, int]]]) -> None:
    """However bad predictions were, some of a page is left for what it is read for, and some margin there always is."""
    before, after = learned(history).margins
    assert 1 <= before <= LARGEST_MARGIN
    assert 3 <= after <= LARGEST_MARGIN
    assert before <= after


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.booleans())
def test_few_new_rows_at_one_end_push_nobody_off_the_page(come: list[int], comes_first: bool) -> None:  # noqa: FBT001 - drawn
    """Up to three between two pages, before all others or after them: each row stays within the margins."""
    listed = Growing(150)
    for n_new in come:
        new: list[int | None] = [None] * n_new
        listed.rows = [*new, *listed.rows] if comes_first else [*listed.rows, *new]
        assert listed.hits() == 1
        assert not listed.read()
    assert not listed.listing.grows_anywhere


def test_a_list_that_grows_fast_widens_the_margins() -> None:
    """Where ten new rows come between two pages, that is expected after a few of them."""
    listed = Growing(150)
    hits = []
    for _ in range(8):
        listed.rows[:0] = [None] * 10
        hits.append(listed.hits())
        listed.read()
    assert hits[0] == 0
    assert hits[4:] == [1, 1, 1, 1]


def read_at_random(listed: Growing, rng: random.Random, *, comes_first: bool) -> tuple[int, list[float]]:
    """Read any page of the list two hundred times, while five rows come in between.

    How often the belief has changed, and the share of the known rows on each page that stood within the margins.
    """
    listing, places, hits, n_changes = listed.listing, dict(listed.places), [], 0
    for _ in range(200):
        for _ in range(5):
            listed.rows.insert(0 if comes_first else rng.randrange(len(listed.rows) + 1), len(listed.rows) + 10**6)
        skip = rng.randrange(len(listed.rows) - 100)
        page = [(row, name) for row, name in listed.known() if skip <= row < skip + 100]
        seen = [(places[name], row) for row, name in page if name in places]
        before, after = listing.margins
        predicted = [(row, listing.index_of(place)) for place, row in seen]
        hits.append(sum(at - before <= row <= at + after for row, at in predicted) / max(1, len(predicted)))
        if listing.learn(seen):
            n_changes += 1
            places.clear()
        places.update({name: listing.place_of(row) for row, name in page})
    return n_changes, hits


@pytest.mark.parametrize("seed", range(3))
def test_a_list_without_an_order_is_found_out(seed: int) -> None:
    """Where new rows come anywhere, it is learned how far a row moves by its index, and most are found again."""
    listed = Growing(1000)
    n_changes, hits = read_at_random(listed, random.Random(seed), comes_first=False)
    assert n_changes == 1
    assert listed.listing.grows_anywhere
    assert sum(hits[-50:]) / 50 > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_a_list_with_new_rows_first_is_known_for_one(seed: int) -> None:
    """Whatever page is read, every row moves by the same number, and nearly all are found again."""
    listed = Growing(1000)
    n_changes, hits = read_at_random(listed, random.Random(seed), comes_first=True)
    assert n_changes == 0
    assert not listed.listing.grows_anywhere
    assert sum(hits[-50:]) / 50 > 0.9


def test_a_wrong_belief_is_given_up_again() -> None:
    """A list that seemed to have no order and grows at one end is seen to, and everything begins anew."""
    listing = Listing()
    beliefs: list[bool] = []
    for place, row in [(10.0, 4000)] * 2:  # too near to the front to say anything of growth in proportion
        for _ in range(50):
            if listing.learn([(place, row if listing.grows_anywhere else row + len(beliefs) * 10**4)]):
                beliefs.append(listing.grows_anywhere)
                break
    assert beliefs == [True, False]
    assert listing.index_of(7.0) == 7.0
    assert listing.margins == Listing().margins


def test_one_wild_row_moves_nobody_else() -> None:
    """The median of a page counts."""
    listing = Listing()
    assert not listing.learn([(10.0, 15), (20.0, 25), (30.0, 9000)])
    assert listing.index_of(40.0) == 45.0


def test_a_page_of_strangers_teaches_nothing() -> None:
    """Nor does it spoil what was learned."""
    listing = learned([[(10.0, 15)]])
    before = listing.margins, listing.index_of(10.0)
    assert not listing.learn([])
    assert (listing.margins, listing.index_of(10.0)) == before


def test_rows_that_nobody_reads_move_too() -> None:
    """Once the pace is known at which rows come, a place that is given without a known row beside it is right."""
    listing = Listing()
    place = listing.place_of(50)
    for second in range(20):
        listing.advance(float(second))
        listing.learn([(place, 50 + 30 * second)])
        place = listing.place_of(50 + 30 * second)
    listing.advance(22.0)  # three seconds later, ninety rows more
    assert listing.index_of(place) == pytest.approx(50 + 30 * 22, abs=15)


def test_places_that_were_given_wrongly_do_not_move_all_others() -> None:
    """Actions of one region that are off by forty rows are put right, and those of another are found all the while."""
    listing = Listing()
    for second in range(12):
        listing.advance(float(second))
        listing.learn([(100.0, 100)])
    off = 1040.0
    for step in range(40):
        listing.advance(12.0 + step / 10)
        listing.learn([(off, 1000)])
        off = listing.place_of(1000)
        assert abs(listing.index_of(100.0) - 100) < 15
    assert abs(listing.index_of(off) - 1000) < 1


@given(length=st.integers(2, 300_000), known=st.integers(1, 500), page_size=st.integers(1, 100), off=st.integers(0, 8))
def test_the_end_of_a_list_is_found(length: int, known: int, page_size: int, off: int) -> None:
    """However long it is, in some forty requests, also where pages begin a little before the row that was meant."""
    finder, requests = TailFinder(known=min(known, length - 1), page_size=page_size), 0
    while finder.length is None:
        requests += 1
        assert requests <= 45
        began_at = max(0, finder.probe - min(off, page_size - 1))
        shown = range(length)[began_at : began_at + page_size]
        finder.learn(began_at=began_at, n_rows=len(shown), has_more=began_at + page_size < length)
    assert finder.length == length
