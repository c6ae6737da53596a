"""What all answers have in common, and those to requests that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from closebulk_async.ratelimit import parse_rate_limit
from tests.schemas import misfits

if TYPE_CHECKING:
    from tests.contract.survey import Record

DOCUMENTED = {200, 400, 401, 404}


def test_statuses_are_those_that_are_documented(record: Record) -> None:
    """Of all reads, the one without its last slash excepted."""
    statuses = {name: exchange.status for name, exchange in record.plain.items() if name != "no slash"}
    assert {name: status for name, status in statuses.items() if status not in DOCUMENTED} == {}


def test_bodies_are_json_and_say_so(record: Record) -> None:
    """An object each, with the content type of JSON."""
    others = [
        name
        for name, exchange in record.plain.items()
        if exchange.status == 200
        and not (exchange.row and (exchange.header("content-type") or "").startswith("application/json"))
    ]
    assert others == []


def test_a_refusal_has_a_body_that_the_client_reads(record: Record) -> None:
    """`error`, or `errors` and `field-errors`."""
    refused = {name: exchange for name, exchange in record.plain.items() if exchange.status in (400, 404)}
    odd = {name: misfits(exchange.json, "error") for name, exchange in refused.items() if exchange.json is not None}
    assert {name: found for name, found in odd.items() if found} == {}


def test_the_limits_of_answers_can_be_read(record: Record) -> None:
    """Where an answer shows its limit, all three numbers are there, and no more remains than is allowed."""
    shown = [value for exchange in record.exchanges if (value := exchange.header("ratelimit")) is not None]
    windows = [parse_rate_limit(value) for value in shown]
    assert [window for window in windows if None in (window.limit, window.remaining, window.reset)] == []
    assert [window for window in windows if (window.remaining or 0) > (window.limit or 0)] == []


def test_most_answers_show_their_limit(record: Record) -> None:
    """More than half do."""
    assert sum(exchange.header("ratelimit") is not None for exchange in record.exchanges) > record.n_requests / 2


def test_answers_have_a_date(record: Record) -> None:
    """By which the client tells its clock from the service's."""
    assert [name for name, exchange in record.plain.items() if not exchange.header("date")] == []


def test_a_path_without_its_slash_is_redirected_or_not_found(record: Record) -> None:
    """A redirect leads to the same path with a slash."""
    answer = record.plain["no slash"]
    assert answer.status in (301, 302, 307, 308, 404)
    if answer.status != 404:
        assert urlsplit(answer.header("location") or "").path.endswith("/me/")


def test_a_path_that_leads_nowhere_is_not_found(record: Record) -> None:
    """404."""
    assert record.plain["no such path"].status == 404


def test_a_wrong_key_is_refused(record: Record) -> None:
    """401, with a body that errors have."""
    answer = record.plain["wrong key"]
    assert answer.status == 401
    assert answer.json is None or misfits(answer.json, "error") == []


def test_the_reads_were_few(record: Record) -> None:
    """As many as the page about this suite says, at the most; repeats after a 429 included."""
    assert record.n_requests <= 130
