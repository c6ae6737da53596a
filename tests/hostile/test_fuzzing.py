"""What hypothesis makes up: bytes for answers, headers and queries. `HYPOTHESIS_PROFILE=explore` tries far more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import (
    CloseBulkError,
    InvalidRequestError,
    Query,
    RetryPolicy,
)
from closebulk_async.limits import LimitLog
from closebulk_async.query_words import describe_query
from closebulk_async.ratelimit import LONGEST, parse_rate_limit, retry_after
from closebulk_async.testing import FakeClock
from closebulk_async.wire import Response, server_time
from tests.hostile.answers import ABSURD, CHUNKED, GOOD, PAGE, whole
from tests.hostile.calls import all_calls, connect
from tests.hostile.judging import judge
from tests.hostile.servers import hostile, response
from tests.hostile.trying import some
from tests.query_trees import anything
from tests.strategies import json_values

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.unmeasured

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


START = "start email"

VALID = (
    response(GOOD, headers=["Content-Type: application/json", "RateLimit: limit=100, remaining=50, reset=5"]),
    response(PAGE),
    response(b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD), headers=[CHUNKED], length=""),
    response(b'{"errors":[],"field-errors":{"lead":"No."}}', status="400 Bad Request"),
    response(b"", status="429 Too Many Requests", headers=["Retry-After: 1"]),
    response(b"", status="302 Found", headers=["Location: /me/"]),
)
"""Answers of a service that means well."""

TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b":", b" ", b"\0", b"\xff", b"{", b"}", b"[", b'"', b"\\u", b",", b"-", b"0\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Location: //"),
    *(b"Content-Encoding: gzip\r\n", b"null", b"true", b"NaN", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"data", b"has_more"),
    *(b"9" * 30, b"1e400"),
)
"""What parsers trip over."""


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An answer that means well, but for some places."""
    data = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        data = data[:at] + draw(st.sampled_from(TOKENS) | st.binary(max_size=4)) + data[at + cut :]
    return data


lines = st.binary(max_size=30)
names = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Location"]) | lines
made_up = st.builds(
    lambda status, headers, body: b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join([*headers, b"", body]),
    st.binary(max_size=8) | st.integers(0, 1000).map(lambda status: b"%d X" % status),
    st.lists(st.builds(lambda name, value: name + b": " + value, names, lines)),
    st.binary(max_size=60) | json_values.map(orjson.dumps),
)
CALLS = ("get email", "list edits", "count", "webhooks", "me, by a grant", "pause", START, "stream", "revoke a token")


@some(60)
@given(data=mutated() | made_up | st.binary(max_size=200), name=st.sampled_from(CALLS))
def test_any_bytes_end_a_call_with_an_error_of_the_package(data: bytes, name: str) -> None:
    """Or with what it made of them; a POST of a start is sent once unless it was refused by a 429."""

    async def try_it() -> None:
        clock = FakeClock()
        spares = (lambda asked: asked.method == "GET") if name == START else (lambda _: False)
        async with (
            hostile(clock, whole(data), spares=spares) as server,
            connect(server, clock, retry=RetryPolicy(attempts=2)) as close,
        ):
            await judge(all_calls(server, clock)[name], close)
            assert close.limits is not None
            assert name != START or server.count("POST") == 1 or b" 429" in data

    asyncio.run(try_it())


# Headers -------------------------------------------------------------------------------------------------------------

NAMES = ("ratelimit", "retry-after", "ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-reset", "date")
windows = r"(limit|remaining|reset)=[0-9.e+-]{1,20}([,;] ?(limit|remaining|reset)=[0-9.\"]{1,20}){0,3}"
moments = r"[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Feb|Dec) [0-9]{1,12} [0-9]{1,3}:[0-9]{1,3}:[0-9]{1,3} ([+-][0-9]{1,8}|GMT)"
values = (
    st.text(max_size=40)
    | st.sampled_from(sorted(ABSURD.values()))
    | st.from_regex(windows, fullmatch=True)
    | st.from_regex(moments, fullmatch=True)
    | st.integers(0, 10**9).map(str)  # seconds below the first instant that is taken for one
)


@some(300)
@given(headers=st.dictionaries(st.sampled_from(NAMES), values), body=json_values, is_throttled=st.booleans())
def test_no_header_asks_for_an_absurd_wait(headers: Mapping[str, str], body: object, is_throttled: bool) -> None:  # noqa: FBT001 - a strategy's
    """Whatever limits and dates it holds: a hint lies between nothing and a week, and a limit can be shown."""
    seconds = retry_after(headers, body=body, now=NOW, is_throttled=is_throttled)
    assert seconds is None or 0 <= seconds <= LONGEST
    log = LimitLog()
    log.note("GET /", parse_rate_limit(headers.get("ratelimit", "")), now=NOW)
    assert log.read() is not None
    told = server_time(Response(status=200, headers=headers, body=b"", now=NOW))
    assert told is None or (NOW - told).total_seconds() is not None


# Queries -------------------------------------------------------------------------------------------------------------


@some(150)
@given(data=anything)
def test_any_json_is_a_query_or_refused(data: Any) -> None:  # noqa: ANN401 - any JSON
    """What is read can be told in words."""
    try:
        query = Query.from_dict(data)
    except InvalidRequestError:
        return
    assert describe_query(query)


@pytest.mark.parametrize("levels", [100, 250, 400, 1000])
def test_a_deep_query_is_told_in_words_or_refused(levels: int) -> None:
    """As the dashboard tells it of actions that anybody may have started."""
    query: dict[str, Any] = {"type": "id", "value": "lead_1"}
    for _ in range(levels):
        query = {"type": "and", "queries": [query, {"type": "id", "value": "lead_2"}]}
    try:
        assert describe_query(query)
    except CloseBulkError:
        assert levels > 100
