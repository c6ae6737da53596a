"""Whoever has the key is believed, and nobody else is."""

from __future__ import annotations

import json
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from closebulk_async import CloseBulkError, InvalidRequestError
from closebulk_async.errors import InvalidWebhookError
from closebulk_async.signing import verify_webhook
from tests.letters import EVENT, KEY, OTHER_KEY, SIGNED_AT, sign, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from closebulk_async.webhook_models import WebhookEvent

NOW = datetime.fromtimestamp(SIGNED_AT, UTC)


def receive(body: bytes, headers: Mapping[str, str] | None = None, **options: Any) -> WebhookEvent:
    """Verify it with the key that `sign` uses."""
    return verify_webhook(body, sign(body) if headers is None else headers, **{"signature_key": KEY, **options})


# What is signed --------------------------------------------------------------------------------------------------


def test_a_signature_that_was_computed_elsewhere_fits() -> None:
    """HMAC-SHA256 with the bytes that the key spells, over the digits of the time and the body."""
    body = b'{"event":{"id":"ev_1","action":"created","object_type":"lead","object_id":"lead_1"}}'
    headers = {  # made with `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`
        "close-sig-hash": "2bd892a2c6a2380233795463fe1fac33fb1f9713d7a42a7952e8f22a7c97e2f6",
        "close-sig-timestamp": "1544271440",
    }
    assert receive(body, headers).id == "ev_1"


@pytest.mark.parametrize(
    "spell",
    [
        lambda headers: headers,
        lambda headers: {name.title(): value for name, value in headers.items()},
        lambda headers: {name.upper(): value for name, value in headers.items()},
        lambda headers: {**headers, "close-sig-hash": headers["close-sig-hash"].upper()},
        CIMultiDict,
    ],
    ids=["lower", "title", "upper", "upper hash", "multidict"],
)
def test_case_does_not_matter(spell: Callable[[dict[str, str]], Mapping[str, str]]) -> None:
    """Neither in the names of headers nor in the hexadecimal digits, and any framework's mapping will do."""
    body = write()
    assert receive(body, spell(sign(body))).id == EVENT["id"]


@given(st.dictionaries(st.text(), st.text()), st.integers(0, 10**12 - 1))
def test_whatever_is_signed_is_believed(data: dict[str, str], at: int) -> None:
    """Whatever an event holds and whenever it was signed, it comes out as it was put in."""
    body = write(data=data)
    assert receive(body, sign(body, at=at)).data == data


@given(st.data())
def test_nothing_that_was_changed_is_believed(data: st.DataObject) -> None:
    """One other bit in the body, the time or the signature, and it is refused."""
    body = write()
    headers = sign(body)
    where = data.draw(st.sampled_from(["body", "close-sig-hash", "close-sig-timestamp"]))
    text = body if where == "body" else headers[where].encode()
    at, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 6))
    changed = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
    if where == "body":
        body = changed
    elif changed.lower() == text:
        return  # the same digit in the other case
    else:
        headers[where] = changed.decode()
    with pytest.raises(InvalidWebhookError):
        receive(body, headers)


def test_json_that_was_written_anew_is_refused() -> None:
    """The same values with other spaces are other bytes."""
    body = write()
    again = json.dumps(json.loads(body), separators=(",", ":")).encode()
    with pytest.raises(InvalidWebhookError, match=r"^the signature is not that of this body and key$"):
        receive(again, sign(body))


@pytest.mark.parametrize("moved", [1, 5, 10])
def test_the_border_between_time_and_body_does_not_move(moved: int) -> None:
    """What is signed has no mark between them; a time with the beginning of the body in it is none, nor half a time."""
    body, at = write(), str(SIGNED_AT)
    signed = sign(body)
    for time, rest in (
        (at + body[:moved].decode(), body[moved:]),
        (at[:-moved], at[-moved:].encode() + body),
    ):
        with pytest.raises(InvalidWebhookError):
            receive(rest, {**signed, "close-sig-timestamp": time})


# Headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["close-sig-hash", "close-sig-timestamp"])
def test_a_header_that_is_missing_is_named(name: str) -> None:
    """A request without it is refused."""
    body = write()
    headers = sign(body)
    del headers[name]
    with pytest.raises(InvalidWebhookError, match=f"no header {name}"):
        receive(body, headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("close-sig-hash", ""),
        ("close-sig-hash", "xyz"),
        ("close-sig-hash", "é" * 64),
        ("close-sig-hash", "٣" * 64),
        ("close-sig-hash", "a" * 63),
        ("close-sig-hash", "a" * 65),
        ("close-sig-timestamp", ""),
        ("close-sig-timestamp", "-1"),
        ("close-sig-timestamp", "1e9"),
        ("close-sig-timestamp", " 1544271440"),
        ("close-sig-timestamp", "٣"),
        ("close-sig-timestamp", "9" * 5000),
        ("close-sig-timestamp", "1544271440\n"),
    ],
)
def test_a_header_that_is_odd_is_refused_and_not_shown(name: str, value: str) -> None:
    """Anybody can send one: what it holds goes into no message."""
    body = write()
    with pytest.raises(InvalidWebhookError, match=f"header {name} is not what") as caught:
        receive(body, {**sign(body), name: value}, tolerance=1, now=NOW)
    assert not value or value not in str(caught.value)


# Keys ------------------------------------------------------------------------------------------------------------


def test_another_key_is_refused() -> None:
    """Who signs with another key is somebody else."""
    body = write()
    with pytest.raises(InvalidWebhookError):
        receive(body, sign(body, key=OTHER_KEY))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_each_of_several_keys_will_do(key: str, order: int) -> None:
    """For two subscriptions to one URL, or while one replaces the other."""
    body = write()
    assert receive(body, sign(body, key=key), signature_key=[KEY, OTHER_KEY][::order]).id == EVENT["id"]


def test_a_key_from_a_file_may_end_with_its_line() -> None:
    """And its digits may be capitals."""
    assert receive(write(), signature_key=f"{KEY.upper()}\n").id == EVENT["id"]


BAD_KEYS: list[Any] = ["", "  ", "xyz", "5f5", None, 7, [], [""], [KEY, ""], [KEY, None], b"5f"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_what_is_no_key_verifies_nothing(key: str) -> None:
    """An empty one above all: everybody can sign with that."""
    body = write()
    headers = {**sign(body), "close-sig-hash": sign(body, key="")["close-sig-hash"]}
    said = "signature_key must be hexadecimal text, as Webhook.signature_key is, or several of them"
    with pytest.raises(InvalidRequestError, match=f"^{said}$"):
        receive(body, headers, signature_key=key)


@pytest.mark.parametrize(
    ("body", "headers", "options"),
    [
        (write(), {}, {}),
        (write(), sign(write(), key=OTHER_KEY), {}),
        (b"no json", sign(b"no json"), {}),
        (write(id=None), sign(write(id=None)), {}),
        (write(), sign(write()), {"tolerance": 1, "now": NOW + timedelta(hours=1)}),
        (write(), sign(write()), {"signature_key": f"{KEY}zz"}),
        (write(), sign(write()), {"signature_key": [KEY, f"{KEY}0"]}),
    ],
)
def test_no_error_shows_a_key(body: bytes, headers: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """In its text, its traceback without sources, its causes or its pickled form."""
    with pytest.raises(CloseBulkError) as caught:
        receive(body, headers, **options)
    error = caught.value
    shown = [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
    shown += [str(error.__cause__), *traceback.format_exception_only(error)]
    if error.__context__ is not None and not error.__suppress_context__:
        shown.append(repr(error.__context__))
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize("body", ["text", {"event": {}}, None, bytearray(b"{}")])
def test_a_body_that_is_not_raw_is_the_callers_mistake(body: bytes) -> None:
    """Parsed JSON, or a text, cannot be what was signed."""
    said = f"body must be the bytes as they arrived and is a {type(body).__name__}"
    with pytest.raises(InvalidRequestError, match=f"^{said}$"):
        receive(body, sign(write()))


# Time ------------------------------------------------------------------------------------------------------------


def test_age_does_not_matter_unless_it_is_asked_for() -> None:
    """The service repeats a delivery for three days."""
    body = write()
    assert receive(body, sign(body, at=1), now=NOW) == receive(body, sign(body, at=1))


@pytest.mark.parametrize("tolerance", [300, timedelta(minutes=5)])
def test_tolerance_bounds_the_age_on_both_sides(tolerance: timedelta | float) -> None:
    """Exactly so far is still good; one second more, early or late, is not."""
    body = write()
    for seconds in (-300, 0, 300):
        assert receive(body, tolerance=tolerance, now=NOW + timedelta(seconds=seconds)).id == EVENT["id"]
    for seconds in (-301, 301):
        with pytest.raises(InvalidWebhookError, match=f"signed {seconds} s before now"):
            receive(body, tolerance=tolerance, now=NOW + timedelta(seconds=seconds))


def test_tolerance_zero_is_a_tolerance() -> None:
    """Zero is no «off»."""
    with pytest.raises(InvalidWebhookError):
        receive(write(), tolerance=0, now=NOW + timedelta(seconds=1))


def test_what_is_no_tolerance_is_refused_by_its_name() -> None:
    """A negative one would refuse everything."""
    with pytest.raises(InvalidRequestError, match="tolerance must be seconds"):
        receive(write(), tolerance=-1, now=NOW)


@pytest.mark.parametrize("now", [None, datetime(2018, 12, 8, 12, 17, 20)])  # noqa: DTZ001 - that is the point
def test_tolerance_needs_to_know_the_time(now: datetime | None) -> None:
    """And which one it is."""
    with pytest.raises(
        InvalidRequestError, match=r"^tolerance needs now=\.\.\., the time of day as an aware datetime$"
    ):
        receive(write(), tolerance=60, now=now)


def test_a_forgery_is_told_apart_from_a_late_delivery() -> None:
    """The signature is judged first: only of what is genuine is the time worth a word."""
    with pytest.raises(InvalidWebhookError, match="not that of this body"):
        receive(write(), sign(write(), key=OTHER_KEY, at=1), tolerance=1, now=NOW)
