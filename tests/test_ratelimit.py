"""Rate-limit headers to hints: which spelling is read, which header is believed, what is ignored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from closebulk_async.ratelimit import RateLimit, parse_rate_limit, retry_after

from .strategies import json_values, patient

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
NOTHING = RateLimit()


def hint(headers: Mapping[str, str], *, body: object = None, now: datetime = NOW) -> float | None:
    """What these headers ask for."""
    return retry_after(CIMultiDict(headers), body=body, now=now)


def http_date(seconds: float) -> str:
    """The instant so many seconds from now, as HTTP writes it."""
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "value",
    [
        "limit=100, remaining=50, reset=5",
        "limit=100; remaining=50; reset=5",
        "limit=100,remaining=50,reset=5",
        "reset=5;limit=100;remaining=50",
        "LIMIT=100, Remaining=50, rEsEt=5",
        "  limit = 100 ,\tremaining = 50;  reset = 5  ",
        'limit="100", remaining="50", reset="5"',
        "limit=100.0, remaining=50.00, reset=5.",
        "limit=100, policy=abc, remaining=50, w=60, reset=5, burst=",
        "limit=100;;, remaining=50, nonsense, reset=5;",
    ],
)
def test_every_spelling_of_the_header_is_read(value: str) -> None:
    """Commas or semicolons, any order, any case, spaces, quotes, unknown keys: the same three numbers."""
    assert parse_rate_limit(value) == RateLimit(limit=100.0, remaining=50.0, reset=5.0)


@pytest.mark.parametrize(
    ("value", "reset"), [("reset=0.123", 0.123), ("reset=.5", 0.5), ("reset=0", 0.0), ("reset=007", 7.0)]
)
def test_decimals_are_read(value: str, reset: float) -> None:
    """The reset is seconds with decimals."""
    assert parse_rate_limit(value) == RateLimit(reset=reset)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "5",
        "reset",
        "reset=",
        "reset=-5",
        "reset=+5",
        "reset=nan",
        "reset=inf",
        "reset=1e3",
        "reset=5s",
        "reset=5.5.5",
        "reset=0x5",
        "reset=1_000",
        "reset=\u0665",
        "reset=\u00a05",
        "x-reset=5",
        "reset:5",
        "reset=5 remaining=3",
        "reset==5",
        "reset=" + "9" * 400,
        ";=,;=",
        "\0",
    ],
)
def test_malformed_pairs_are_ignored(value: str) -> None:
    """What is not exactly a number is no number, and never an error."""
    assert parse_rate_limit(value) == NOTHING
    assert hint({"ratelimit": value}) is None
    assert hint({"ratelimit": value, "retry-after": "7"}) == 7.0


def test_a_malformed_pair_spoils_no_other() -> None:
    """The rest of the header is still read."""
    assert parse_rate_limit("limit=x, remaining=3, reset=2") == RateLimit(remaining=3.0, reset=2.0)


@patient
@given(
    numbers=st.fixed_dictionaries({name: st.decimals(0, 10**6, places=3) for name in ("limit", "remaining", "reset")}),
    data=st.data(),
)
def test_numbers_survive_any_spelling(numbers: dict[str, Any], data: st.DataObject) -> None:
    """Three decimals in any order, case and separator are read as they were written."""
    pairs = data.draw(st.permutations([f"{name}={number}" for name, number in numbers.items()]))
    header = data.draw(st.sampled_from([",", ";", ", ", " ; "])).join(pairs)
    header = data.draw(st.sampled_from([header, header.upper(), header.title()]))
    assert parse_rate_limit(header) == RateLimit(**{name: float(number) for name, number in numbers.items()})


def test_the_first_hint_that_is_there_counts() -> None:
    """`RateLimit`, `Retry-After`, the older headers, the body: each only where those before it are silent."""
    headers = {
        "ratelimit": "limit=100, remaining=0, reset=1.5",
        "retry-after": "2",
        "ratelimit-reset": "3",
        "x-rate-limit-reset": "4",
        "x-ratelimit-reset": "5",
    }
    body = {"rate_reset": 6}
    for expected in (1.5, 2.0, 3.0, 4.0, 5.0):
        assert hint(headers, body=body) == expected
        assert hint({name.upper(): value for name, value in headers.items()}, body=body) == expected
        headers.pop(next(iter(headers)))
    assert hint({}, body=body) == 6.0
    assert hint({}) is None


@pytest.mark.parametrize("seconds", [0, 0.25])
def test_no_wait_and_parts_of_a_second_are_hints(seconds: float) -> None:
    """A server that asks for nothing, or for next to nothing, has asked: what stands behind it does not count."""
    assert hint({"ratelimit": f"remaining=0, reset={seconds}", "retry-after": "9"}) == seconds
    assert hint({"retry-after": str(seconds), "x-ratelimit-reset": "9"}) == seconds


@pytest.mark.parametrize("name", ["retry-after", "ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-reset"])
@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "-inf", "1e400", "5, 6"])
def test_what_is_no_wait_is_passed_over(name: str, value: str) -> None:
    """An unusable header is as good as absent: the next one counts."""
    assert hint({name: value}) is None
    assert hint({name: value}, body={"rate_reset": 6}) == 6.0


@pytest.mark.parametrize(
    ("remaining", "reset", "after", "expected"),
    [
        ("0", "1", "30", 1.0),
        ("0", "30", "1", 30.0),
        ("5", "1", "30", 30.0),
        ("5", "30", "1", 30.0),
        ("0.5", "1", "30", 30.0),
        ("5", "1", None, 1.0),
        (None, "1", "30", 1.0),
    ],
)
def test_while_requests_remain_the_later_hint_wins(
    remaining: str | None, reset: str, after: str | None, expected: float
) -> None:
    """A refusal with requests remaining came from a stricter limit, of which the header knows nothing."""
    header = f"limit=10, reset={reset}" + ("" if remaining is None else f", remaining={remaining}")
    assert hint({"ratelimit": header} | ({} if after is None else {"retry-after": after})) == expected


def test_with_requests_remaining_the_body_counts_too() -> None:
    """The later hint wins wherever it stands."""
    assert hint({"ratelimit": "remaining=3, reset=1"}, body={"error": {"rate_reset": 9}}) == 9.0


@pytest.mark.parametrize(("seconds", "expected"), [(10, 10.0), (0, 0.0), (-10, 0.0)])
def test_an_http_date_is_read_against_the_client_without_a_date_header(seconds: float, expected: float) -> None:
    """`Retry-After` may be a date; one that is past asks for no wait."""
    assert hint({"retry-after": http_date(seconds)}) == expected


def test_an_http_date_is_read_against_the_servers_clock() -> None:
    """With a `Date` header the client's clock may be off by an hour."""
    for skew in (-3600, 3600):
        now = NOW + timedelta(seconds=skew)
        assert hint({"retry-after": http_date(10), "date": http_date(0)}, now=now) == 10.0


def test_an_unreadable_date_header_is_passed_over() -> None:
    """Then the client's clock has to do."""
    assert hint({"retry-after": http_date(10), "date": "yesterday"}) == 10.0


@pytest.mark.parametrize("year", ["99999", "9" * 20, "9" * 5000])
def test_a_date_beyond_all_calendars_is_no_hint(year: str) -> None:
    """Neither as the end of the wait nor as the server's time: what stands behind it counts."""
    far = f"Fri, 31 Dec {year} 23:59:59 GMT"
    assert hint({"retry-after": far}) is None
    assert hint({"retry-after": http_date(10), "date": far}) == 10.0


def test_dates_of_which_one_has_no_zone_are_no_hint() -> None:
    """A difference between them would be made up."""
    naive = http_date(10).replace("GMT", "-0000")
    assert hint({"retry-after": naive}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit": f"remaining=0, reset={NOW.timestamp() + 8:.1f}"},
        {"retry-after": str(NOW.timestamp() + 8)},
        {"ratelimit-reset": str(int(NOW.timestamp()) + 8)},
        {"x-rate-limit-reset": str(int(NOW.timestamp()) + 8)},
        {"x-ratelimit-reset": str(int(NOW.timestamp()) + 8)},
        {},
    ],
)
def test_a_reset_may_be_an_instant(headers: dict[str, str]) -> None:
    """Seconds since 1970 are told from a duration, and are no wait of decades; a past instant is no wait at all."""
    body = None if headers else {"rate_reset": NOW.timestamp() + 8}
    assert hint(headers, body=body) == pytest.approx(8.0)
    assert hint(headers, body=body, now=NOW + timedelta(minutes=1)) == 0.0


def test_a_thousand_million_is_where_instants_begin() -> None:
    """As a duration that is thirty years, which no server means; as an instant it is long past."""
    assert hint({"retry-after": "1000000000"}) is None
    assert hint({"retry-after": "1000000001"}) == 0.0


def test_a_hint_of_a_week_is_the_longest() -> None:
    """What is longer is a mistake, such as an instant in milliseconds, and no hint."""
    week = 7 * 24 * 3600
    assert hint({"retry-after": str(week)}) == week
    assert hint({"retry-after": str(week + 1)}) is None
    assert hint({"retry-after": http_date(week)}) == week
    assert hint({"retry-after": http_date(week + 1)}) is None
    assert hint({"retry-after": str(int(NOW.timestamp() * 1000))}) is None


@pytest.mark.parametrize(("value", "expected"), [("7", 7.0), (http_date(10), 10.0)])
def test_of_an_answer_that_is_no_refusal_only_retry_after_counts(value: str, expected: float) -> None:
    """A 503 says nothing of limits, whatever headers it carries."""
    others = {"ratelimit": "remaining=0, reset=1", "ratelimit-reset": "3"}
    headers = CIMultiDict({**others, "retry-after": value})
    assert retry_after(headers, now=NOW, is_throttled=False) == expected
    assert retry_after(CIMultiDict(others), body={"rate_reset": 6}, now=NOW, is_throttled=False) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"rate_reset": 3.5}, 3.5),
        ({"rate_reset": "3.5"}, 3.5),
        ({"error": {"rate_reset": 4, "message": "slow down"}}, 4.0),
        ({"error": {"rate_reset": 4}, "rate_reset": 9}, 4.0),
        ({"error": "slow down", "rate_reset": 9}, 9.0),
        ({"error": {"message": "slow down"}}, None),
        ({"rate_reset": None}, None),
        ({"rate_reset": -1}, None),
        ({"rate_reset": [1]}, None),
        ("slow down", None),
        ([], None),
        (None, None),
    ],
)
def test_the_body_is_asked_last(body: object, expected: float | None) -> None:
    """`rate_reset` of the older bodies, nested or at the top."""
    assert hint({}, body=body) == expected


@patient
@given(
    headers=st.dictionaries(
        st.sampled_from(["ratelimit", "retry-after", "date", "ratelimit-reset", "x-rate-limit-reset"]),
        st.text()
        | st.floats().map(str)
        | st.integers().map(str)
        | st.floats().map(lambda number: f"remaining={number}, reset={number}")
        | st.datetimes(timezones=st.just(UTC)).map(lambda moment: format_datetime(moment, usegmt=True)),
    ),
    body=json_values | st.fixed_dictionaries({"rate_reset": json_values}),
)
def test_no_answer_makes_the_reader_fail(headers: dict[str, str], body: object) -> None:
    """Whatever a server sends, the hint is None or a finite number of seconds that is not negative."""
    found = hint(headers, body=body)
    assert found is None or 0 <= found < float("inf")
