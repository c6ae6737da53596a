"""What is written into the rows of a fleet, and read from them by another process."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async import AmbiguousStartError, BulkEmail
from closebulk_async.errors import (
    APIError,
    BlockedStartError,
    CloseBulkError,
    NotFoundError,
    RateLimitedError,
    TooManyMatchesError,
    TransportError,
    UnsafeQueryError,
)
from closebulk_async.integrations.fleet_errors import error_from_json, error_to_json
from closebulk_async.integrations.fleet_news import News
from closebulk_async.integrations.fleet_rows import Offset, meter_from_json, meter_to_json
from closebulk_async.integrations.fleet_starts import CLASSES, request_to_json
from closebulk_async.intents import Intent, State
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.operations import split_keywords
from closebulk_async.progress import Meter, observe
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
INTENT = Intent(
    id="1",
    scope="https://api.close.com 1",
    kind=Kind.EMAIL,
    body=b'{"query": "\xc3\xa9"}',
    fingerprint="f",
    created_at=NOW,
    state=State.POSTING,
)

ERRORS = [
    NotFoundError(status=404, request="GET /x/", errors=["nothing"], body={"error": "nothing"}),
    RateLimitedError(status=429, request="GET /x/", retry_after=timedelta(seconds=3.5)),
    APIError(status=418, request="GET /x/", field_errors={"a.b": "wrong"}),
    TransportError("cut", request="POST /x/", sent=True),
    TooManyMatchesError("7 are too many", count=7),
    UnsafeQueryError("all of them"),
    BlockedStartError("another one", intent=INTENT),
    AmbiguousStartError("who knows", intent=INTENT, candidates=[BulkEmail.example()]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error: CloseBulkError) -> None:
    """Its class, its text and all that it knows."""
    again = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


async def test_a_doubtful_start_says_that_its_client_is_elsewhere() -> None:
    """Until it is offered another one."""
    again = error_from_json(error_to_json(ERRORS[-1]))
    assert isinstance(again, AmbiguousStartError)
    with pytest.raises(CloseBulkError, match="is not here"):
        await again.reconcile()


def test_an_offset_stays_as_long_as_it_may_be_right() -> None:
    """A slow answer makes nothing worse, and a clock that was set is followed at once."""
    offset = Offset(100.0)
    assert offset.renewed(111.0, asked=10.0, answered=30.0) == offset
    assert offset.renewed(3711.0, asked=11.0, answered=11.5) == Offset(3699.5)
    assert offset.renewed(11.0, asked=11.0, answered=11.5) == Offset(0.0)


def test_an_error_that_nobody_knows_is_one_of_the_package() -> None:
    """With its class in its text; and so is one of a later version."""
    assert str(error_from_json(error_to_json(ZeroDivisionError("by zero")))) == "ZeroDivisionError: by zero"
    assert type(error_from_json({"class": "LaterError", "message": "m", "state": {}})) is CloseBulkError


def test_a_meter_goes_on_in_another_process() -> None:
    """With another monotonic clock: all spans of time stay what they are."""
    meter: Meter[BulkEmail] | None = None
    for n, at in enumerate((100.0, 101.5, 104.0)):
        action = BulkEmail.example(n_objects_processed=n * 7)
        meter = observe(meter, action, at=at, now=NOW + timedelta(seconds=at))
    assert meter is not None
    written = json.loads(json.dumps(meter_to_json(meter, Offset(1000.0))))
    again = meter_from_json(meter.action, written, Offset(900.0))
    assert again.at == pytest.approx(meter.at + 100)
    for name in ("stalled_for", "running_for", "rate", "left", "eta", "fraction", "paused_since"):
        assert getattr(again, name) == pytest.approx(getattr(meter, name))


def test_a_pause_goes_on_in_another_process() -> None:
    """Since the moment in which it began."""
    meter = observe(None, BulkEmail.example(status="paused"), at=1.0, now=NOW)
    again = meter_from_json(meter.action, json.loads(json.dumps(meter_to_json(meter, Offset(5.0)))), Offset(5.0))
    assert again == meter


MORE: list[Mapping[str, object]] = [
    {},
    {"s_query": None, "query": "é \u0000", "allow_all": True},
    {"extra": {"later": [1e22, 0.1, None]}, "timeout": timedelta(seconds=2), "max_matches": 5},
]


@pytest.mark.parametrize("kind", BULK_KINDS)
@pytest.mark.parametrize("more", MORE, ids=["plain", "text", "extra"])
def test_a_start_is_sent_as_it_was_asked_for(kind: Kind, more: Mapping[str, object]) -> None:
    """To the byte, and with the same options."""
    keywords = {"s_query": QUERY, **KEYWORDS[kind], "idempotency_key": "k", "on_ambiguous": "raise", **more}
    start, options = split_keywords(CLASSES[kind], keywords)
    again, options_again = split_keywords(CLASSES[kind], json.loads(json.dumps(request_to_json(start, options))))
    assert again.to_json() == start.to_json()
    assert attrs.asdict(options_again) == attrs.asdict(options)


def test_news_fit_into_what_the_database_carries() -> None:
    """A page of ids as long as the service's takes less than 8000 bytes."""
    news = News(what="moved", account="an organization", kind="sequence_subscription", ids=["x" * 60] * 100)
    assert len(news.to_text()) < 8000
    assert News.parse(news.to_text()) == attrs.evolve(news, ids=list(news.ids))
