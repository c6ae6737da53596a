"""Error answers: which class each status raises, and what is read from each shape of body."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from closebulk_async.error_bodies import MOST_FIELD_ERRORS
from closebulk_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
    ServerError,
)
from closebulk_async.models import Kind
from closebulk_async.wire import (
    Request,
    Response,
    check_status,
    hint,
    is_rejection,
    is_success,
    read_action,
    read_page,
)

from .strategies import json_objects, json_values, patient

pytestmark = pytest.mark.unmeasured

GET = Request(method="GET", path="/bulk_action/email/bulkemail_1/")
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
PAGE_OF_HTML = "<html>\n<head><title>502 Bad Gateway</title></head>\n" + "<p>nginx</p>\n" * 500 + "</html>"


def answer(status: int = 200, body: object = b"", headers: dict[str, str] | None = None) -> Response:
    """A response; a body that is no bytes becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers=CIMultiDict(headers or {}), body=data, now=NOW)


def error_of(status: int, body: object, headers: dict[str, str] | None = None) -> APIError:
    """What an answer with this status and body raises."""
    with pytest.raises(APIError) as caught:
        check_status(GET, answer(status, body, headers))
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_raises_nothing(status: int) -> None:
    """Any 2xx is a success."""
    assert is_success(status)
    check_status(GET, answer(status))


@pytest.mark.parametrize(
    ("status", "rejected"),
    [
        (200, False),
        (302, False),
        (400, True),
        (404, True),
        (408, False),
        (409, True),
        (429, True),
        (499, True),
        (500, False),
    ],
)
def test_a_rejection_proves_that_nothing_happened(status: int, rejected: bool) -> None:  # noqa: FBT001 - a column
    """4xx except 408; a server error or a redirect proves nothing."""
    assert is_rejection(status) is rejected


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (301, APIError),
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, PlanLimitError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIError),
        (418, APIError),
        (429, RateLimitedError),
        (502, ServerError),
        (799, ServerError),
    ],
)
def test_a_status_raises_its_class(status: int, cls: type[APIError]) -> None:
    """Reading an action, a page or nothing raises the same class, with what the server said."""
    response = answer(status, {"error": "No such thing."})
    for read in (
        lambda: read_action(Kind.EMAIL, GET, response),
        lambda: read_page(Kind.EMAIL, GET, response),
        lambda: check_status(GET, response),
    ):
        with pytest.raises(APIError, match="No such thing") as caught:
            read()
        assert type(caught.value) is cls
        assert (caught.value.status, caught.value.request) == (status, str(GET))
        assert caught.value.errors == ("No such thing.",)


NESTED = {
    "errors": [],
    "field-errors": {
        "contacts": {
            "errors": {"0": {"field-errors": {"emails": {"errors": {"0": {"field-errors": {"email": "Invalid."}}}}}}}
        }
    },
}


@pytest.mark.parametrize(
    ("body", "errors", "field_errors"),
    [
        ({"errors": [], "field-errors": {"lead": "This field is required."}}, (), {"lead": "This field is required."}),
        (NESTED, (), {"contacts.0.emails.0.email": "Invalid."}),
        ({"errors": ["One.", "Two."], "field-errors": {}}, ("One.", "Two."), {}),
        ({"error": "Unauthorized"}, ("Unauthorized",), {}),
        ({"error": {"message": "Slow down.", "rate_reset": 5}}, ("Slow down.",), {}),
        ({"errors": ["One."], "error": "Two."}, ("One.", "Two."), {}),
        ({"field-errors": {"a": ["One.", "Two."]}}, (), {"a": "One. Two."}),
        (
            {"field-errors": {"a": {"errors": ["List is too long."]}, "b": "No."}},
            (),
            {"a": "List is too long.", "b": "No."},
        ),
        ({"field-errors": {"a": {"b": {"c": "No."}}, "d": None}}, (), {"a.b.c": "No."}),
        ({"field-errors": {"errors": "No."}}, (), {"errors": "No."}),
        ({"field-errors": {"a": 5}}, (), {"a": "5"}),
        ({"field-errors": "No."}, (), {"": "No."}),
        ({"errors": "No.", "error": 5}, (), {}),
        ({"errors": [{"a": 1}, None, "One."]}, ("One.",), {}),
        ({}, (), {}),
        ([], (), {}),
        ("Forbidden", ("Forbidden",), {}),
        (b"Forbidden", ("Forbidden",), {}),
        (b"", (), {}),
    ],
)
def test_error_bodies_are_read_in_every_shape(
    body: object, errors: tuple[str, ...], field_errors: dict[str, str]
) -> None:
    """General messages, field messages by dotted path, plain text: each stands in the error and in its message."""
    error = error_of(400, body)
    assert error.errors == errors
    assert error.field_errors == field_errors
    for text in (*errors, *(f"{path}: {text}" for path, text in field_errors.items())):
        assert text in str(error)
    if not isinstance(body, bytes):
        assert error.body == body


def test_a_page_of_html_is_shown_shortened() -> None:
    """The begin of the page on one line, in the message and as the body."""
    error = error_of(502, PAGE_OF_HTML.encode())
    assert isinstance(error.body, str)
    assert error.body.startswith("<html> <head><title>502 Bad Gateway</title></head> <p>nginx</p>")
    assert len(error.body) == 200
    assert "502 Bad Gateway" in str(error)
    assert len(str(error)) < 300
    assert "\n" not in str(error)


@patient
@given(status=st.integers(300, 599), body=json_values | json_objects | st.binary(max_size=50))
def test_any_body_makes_the_error_of_its_status(status: int, body: object) -> None:
    """Whatever a server says with an error, it is an APIError with that status."""
    assert error_of(status, body).status == status


def test_errors_nested_beyond_reason_are_still_errors() -> None:
    """A body that is nested as deeply as the decoder bears raises the error of its status."""
    deep = b'{"field-errors":' + b'{"a":' * 1000 + b'"No."' + b"}" * 1000 + b"}"
    assert isinstance(error_of(400, deep), BadRequestError)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"RateLimit": "limit=10, remaining=0, reset=2.5"}, b"", 2.5),
        ({"ratelimit": "limit=10; remaining=0; reset=2.5", "retry-after": "3"}, {"error": "slow down"}, 2.5),
        ({"Retry-After": "3"}, b"", 3.0),
        ({}, {"error": {"rate_reset": 4.5}}, 4.5),
        ({}, b"<html>", None),
    ],
)
def test_a_rate_limited_answer_has_its_hint(headers: dict[str, str], body: object, seconds: float | None) -> None:
    """With or without JSON, the server's wait is in the error."""
    error = error_of(429, body, headers)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))
    assert hint(answer(429, body, headers)) == seconds


HUGE = 4_000_000
"""Bytes of a body that is read in a fraction of a second, or, by what grows with its square, in hours."""


@pytest.mark.parametrize(
    "body",
    [
        b'{"field-errors":{"a":[' + b'"x",' * (HUGE // 4) + b'"x"]}}',
        b'{"field-errors":{"' + b"a" * (HUGE // 2) + b'":{' + b'"b":1,' * (HUGE // 12) + b'"b":1}}}',
        b'{"field-errors":' + b'{"a":' * 900 + b"[" + b"null," * (HUGE // 5) + b"1]" + b"}" * 901,
        b'{"field-errors":' + b"[" * 1000 + b"1," * (HUGE // 2) + b"1" + b"]" * 1000 + b"}",
        b"a " * (HUGE // 2),
        b"https://" * (HUGE // 8),
        b" " * HUGE,
    ],
    ids=["one field", "a long name", "deep nulls", "deep lists", "words", "links", "spaces"],
)
def test_large_errors_cost_no_more_than_their_size(body: bytes) -> None:
    """In time and in memory, whether it is an error or a success that does not fit."""
    response = answer(400, body)
    tracemalloc.start()
    try:
        error = error_of(400, body)
        with pytest.raises(DecodeError) as caught:
            read_action(Kind.EMAIL, GET, answer(200, body))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * HUGE  # JSON of the shortest values, as objects, twice
    assert len(str(error)) < 400
    assert len(str(caught.value)) < 1000
    assert len(error.field_errors) <= MOST_FIELD_ERRORS
    assert all(len(path) < 4000 for path in error.field_errors)
    assert hint(response) is None


def test_of_other_answers_only_retry_after_is_a_hint() -> None:
    """A 503 says nothing of limits; a date in it is read against this clock where the server shows none."""
    limits = {"ratelimit": "limit=10, remaining=0, reset=2.5"}
    assert hint(answer(503, {"rate_reset": 4}, limits)) is None
    assert hint(answer(503, b"", {**limits, "retry-after": "3"})) == 3.0
    assert hint(answer(503, b"", {"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True)})) == 9.0
