"""Errors: one root, a class for each thing that a caller does differently, no data lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import errors
from closebulk_async.errors import (
    AmbiguousStartError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BlockedStartError,
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    ClientClosedError,
    CloseBulkError,
    DecodeError,
    DuplicateWebhookError,
    FieldNotRequested,
    IdempotencyConflictError,
    InvalidRequestError,
    InvalidWebhookError,
    JournalError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
    SearchIncompleteError,
    ServerError,
    SignatureKeyNotShown,
    StartError,
    TooManyMatchesError,
    TransportError,
    UnfencedStartError,
    UnsafeQueryError,
    WaitClosedError,
    WaitError,
    WaitTimeout,
    WatchLostError,
    error_of_status,
    shorten,
)
from closebulk_async.intents import Intent
from closebulk_async.models import BulkEmail, Kind

from .strategies import patient

REQUEST = "GET /bulk_action/email/"
ACTION = BulkEmail.example(id="bulkemail_1")
INTENT = Intent(
    id="i",
    scope="https://api.close.com/api/v1",
    kind=Kind.EMAIL,
    body=b'{"query":"name:ACME"}',
    fingerprint="f",
    created_at=datetime(2026, 1, 15, tzinfo=UTC),
)
API: dict[str, Any] = {
    "status": 400,
    "request": REQUEST,
    "errors": ["No."],
    "field_errors": {"a.0": "Bad."},
    "body": {"errors": ["No."]},
}
WAITS = (BulkActionFailed, BulkActionPaused, BulkActionStalled, WaitTimeout, WatchLostError, WaitClosedError)
EXAMPLES: list[CloseBulkError] = [
    CloseBulkError("x"),
    InvalidRequestError("x"),
    FieldNotRequested("n_leads", owner="BulkEmail"),
    ClientClosedError("x"),
    TransportError("refused", request=REQUEST, sent=False),
    DecodeError("no 'id'", status=200, request=REQUEST, body="<html>"),
    *(
        cls(**API)
        for cls in (
            APIError,
            BadRequestError,
            AuthenticationError,
            PlanLimitError,
            PermissionDeniedError,
            NotFoundError,
            ServerError,
        )
    ),
    RateLimitedError(**API, retry_after=timedelta(seconds=2.5)),
    WaitError("x", ref=ACTION.ref),
    *(cls("x", ref=ACTION.ref, action=ACTION) for cls in WAITS),
    StartError("x"),
    UnsafeQueryError("x"),
    TooManyMatchesError("x", count=7),
    SearchIncompleteError("x", given=10_000),
    UnfencedStartError("x"),
    IdempotencyConflictError("x", intent=INTENT),
    BlockedStartError("x", intent=INTENT),
    AmbiguousStartError("x", intent=INTENT, candidates=[ACTION]),
    JournalError("x"),
    DuplicateWebhookError(**API),
    InvalidWebhookError("x"),
    SignatureKeyNotShown("whsub_1"),
]


def test_every_error_has_an_example_and_the_one_root() -> None:
    """No exception class of the module is outside of CloseBulkError, or missing from these tests."""
    classes = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BaseException)}
    assert all(issubclass(cls, CloseBulkError) for cls in classes)
    assert {type(error) for error in EXAMPLES} == classes


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_other_processes(error: CloseBulkError) -> None:
    """Pickled or copied, an error has its class, its message and all of its data."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert repr(other) == repr(error)
        assert other.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (InvalidRequestError, ValueError),
        (FieldNotRequested, AttributeError),
        (WaitTimeout, TimeoutError),
        (WaitClosedError, RuntimeError),
    ],
)
def test_errors_are_also_what_python_calls_them(cls: type[CloseBulkError], builtin: type[Exception]) -> None:
    """Code that knows only the built-in class catches these as well."""
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, PlanLimitError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIError),
        (408, APIError),
        (409, APIError),
        (415, APIError),
        (418, APIError),
        (429, RateLimitedError),
        (499, APIError),
        (302, APIError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (599, ServerError),
    ],
)
def test_a_status_has_its_class(status: int, cls: type[APIError]) -> None:
    """Each documented status raises its own class, unknown ones APIError itself, and 5xx ServerError."""
    assert error_of_status(status) is cls


def test_an_api_error_says_what_the_server_said() -> None:
    """Its message has the request, the status in words, the general errors and the fields with their paths."""
    error = BadRequestError(**API)
    assert str(error) == f"{REQUEST} was answered with 400 Bad Request: No.; a.0: Bad."
    assert (error.status, error.request, error.errors) == (400, REQUEST, ("No.",))
    assert error.field_errors == {"a.0": "Bad."}
    assert error.body == {"errors": ["No."]}


def test_an_api_error_without_words_says_its_status() -> None:
    """Nothing is made up where the server said nothing, and a status that Python does not know is a number."""
    assert str(ServerError(status=503, request=REQUEST)) == f"{REQUEST} was answered with 503 Service Unavailable"
    assert str(APIError(status=799, request=REQUEST)) == f"{REQUEST} was answered with 799"
    assert str(AuthenticationError(status=None, request="there is no key")) == "there is no key"


def test_a_rate_limited_error_keeps_the_hint() -> None:
    """`retry_after` is the server's wait, None where it named none."""
    assert RateLimitedError(**API, retry_after=timedelta(seconds=2.5)).retry_after == timedelta(seconds=2.5)
    assert RateLimitedError(**API).retry_after is None


def test_long_texts_are_shortened_in_messages() -> None:
    """A page of HTML as an error text does not fill the log."""
    assert len(str(APIError(status=500, request=REQUEST, errors=["<html> " * 1000]))) < 300
    error = DecodeError("no 'id'", status=200, request=REQUEST, body="y" * 1000)
    assert len(error.body) == 200
    assert str(error).endswith("…")
    assert f"{REQUEST} answered 200" in str(error)
    assert (error.status, error.request) == (200, REQUEST)


@patient
@given(text=st.text(), limit=st.integers(1, 50))
def test_shortened_text_is_one_line_within_its_limit(text: str, limit: int) -> None:
    """`shorten` never exceeds its limit, never breaks the line, and leaves short lines as they are."""
    short = shorten(text, limit=limit)
    line = " ".join(text.split())
    assert len(short) <= limit
    assert short == line or (short.endswith("…") and line.startswith(short[:-1]) and len(line) > limit)
    assert len(short.splitlines()) <= 1


def test_a_transport_error_says_whether_the_request_left() -> None:
    """`sent` is the caller's proof that the server cannot have acted."""
    error = TransportError("refused", request="POST /x/", sent=False)
    assert str(error) == "POST /x/: refused"
    assert (error.sent, error.request) == (False, "POST /x/")


def test_a_wait_error_names_the_job() -> None:
    """The message begins with the ref, and the error carries what is known of the job."""
    error = BulkActionFailed("it failed", ref=ACTION.ref, action=ACTION)
    assert str(error) == "email:bulkemail_1: it failed"
    assert (error.ref, error.action, error.progress) == (ACTION.ref, ACTION, None)
    assert str(WaitTimeout("too long", ref=ACTION.ref)) == "email:bulkemail_1: too long"
    assert WaitTimeout("too long", ref=ACTION.ref).action is None


def test_a_missing_field_is_named_with_a_way_out() -> None:
    """The message says which field of which model, and what to do; Python guesses no misspelling."""
    error = FieldNotRequested("n_leads", owner="BulkEmail")
    assert "BulkEmail.n_leads" in str(error)
    assert "fields=" in str(error)
    assert error.field == "n_leads"
    assert error.name is None


def test_an_error_keeps_its_notes_when_pickled() -> None:
    """What somebody added to an error on its way is still there in the other process."""
    error = StartError("x")
    error.add_note("in batch 7")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["in batch 7"]  # noqa: S301 - our own bytes


async def test_an_ambiguous_start_leads_back_to_its_client() -> None:
    """`reconcile` does what the client gave it to do, for its own intent, and its result is what that finds."""

    async def look(id: str) -> BulkEmail:
        assert id == INTENT.id
        return ACTION

    assert await AmbiguousStartError("x", intent=INTENT).offer(look).reconcile() is ACTION


async def test_an_ambiguous_start_of_another_process_names_the_way() -> None:
    """Pickled, it has lost its client, and says what to call on another one."""

    async def look(id: str) -> BulkEmail:
        return ACTION

    error = AmbiguousStartError("x", intent=INTENT, candidates=[ACTION]).offer(look)
    other = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (other.intent, other.candidates) == (INTENT, (ACTION,))
    with pytest.raises(ClientClosedError, match=r"close\.reconcile\('i'\)"):
        await other.reconcile()
