"""Bytes to models: what a body may be, what it may not, and what an error says about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.convert import (
    NOTHING_EXTRA,
    StructureError,
    converter,
    decode,
    decode_page,
    format_datetime,
    parse_datetime,
    to_json_value,
)
from closebulk_async.models import BulkDelete, BulkEmail, Status

from .strategies import dates, patient

ROW = BulkEmail.example().to_dict()


def encode(value: object) -> bytes:
    """JSON as a server would write it."""
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"[]", "list"),
        (b'"x"', "string"),
        (b"1", "integer"),
        (b"1.5", "number"),
        (b"true", "boolean"),
        (b"null", "null"),
    ],
)
def test_only_an_object_is_a_body(body: bytes, name: str) -> None:
    """JSON of another type is refused by its name, for a single action and for a page."""
    with pytest.raises(StructureError, match=f"JSON {name}, not an object"):
        decode(body, BulkEmail)
    with pytest.raises(StructureError, match=f"JSON {name}, not an object"):
        decode_page(body, BulkEmail)
    with pytest.raises(StructureError, match=f"JSON {name}, not an object"):
        decode_page(b'{"data": [%b]}' % body, BulkEmail)


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "x"', b"<html>", b'{"id": NaN}', b'{"id": "\xff"}', b"{}{}"])
def test_broken_json_is_a_value_error(body: bytes) -> None:
    """What is no JSON raises the one class of error that `decode` promises."""
    with pytest.raises(ValueError, match=r"."):
        decode(body, BulkEmail)
    with pytest.raises(ValueError, match=r"."):
        decode_page(body, BulkEmail)


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"data": {}}', b'{"data": "x", "has_more": true}'])
def test_a_page_needs_a_list_of_rows(body: bytes) -> None:
    """Without a list under `data` there is no page, not an empty one."""
    with pytest.raises(StructureError, match="'data'"):
        decode_page(body, BulkEmail)


@pytest.mark.parametrize(
    ("more", "has_more"),
    [({}, False), ({"has_more": False}, False), ({"has_more": True}, True), ({"has_more": None}, False)],
)
def test_a_page_says_whether_there_is_more(more: dict[str, Any], has_more: bool) -> None:  # noqa: FBT001 - a column
    """`has_more` is what the server says, and False where it says nothing; other keys of a page are let pass."""
    rows, found = decode_page(encode({"data": [ROW, {"id": "y"}], "total_results": 2, **more}), BulkEmail)
    assert found is has_more
    assert [row.id for row in rows] == [ROW["id"], "y"]


def test_rows_without_unknown_keys_share_one_empty_extra() -> None:
    """Nothing is allocated for what is nearly always empty, and it cannot be filled by accident."""
    rows, _ = decode_page(encode({"data": [ROW, {"id": "y"}]}), BulkEmail)
    assert all(row.extra is NOTHING_EXTRA for row in rows)


def test_an_error_in_a_row_names_its_key() -> None:
    """A page with one row that does not fit is refused with that row's key."""
    with pytest.raises(StructureError, match="'n_leads_processed' holds a JSON null where integer belongs"):
        decode_page(encode({"data": [ROW, {**ROW, "n_leads_processed": None}]}), BulkEmail)


def test_the_converter_is_made_once_and_structures_as_decode_does() -> None:
    """The cattrs converter and `decode` are two doors to the same rules."""
    assert converter() is converter()
    assert converter().structure(ROW, BulkEmail) == decode(encode(ROW), BulkEmail)
    assert converter().unstructure(decode(encode(ROW), BulkEmail)) == ROW
    assert converter().structure([ROW], list[BulkEmail]) == [BulkEmail.example()]


def test_each_class_has_readers_of_its_own() -> None:
    """A row of one kind read as another keeps what that kind does not know as unknown keys."""
    action = decode(encode(ROW), BulkDelete)
    assert action.unset == {"bulk_object_type"}
    assert action.extra.keys() == {"contact_preference", "email_account_id", "sender", "template_id"}


@patient
@given(text=dates)
def test_the_documented_spelling_of_a_date_survives(text: str) -> None:
    """A date with microseconds and offset is written as it was read."""
    assert format_datetime(parse_datetime(text)) == text


@patient
@given(moment=st.datetimes())
def test_naive_dates_are_utc(moment: datetime) -> None:
    """A date without an offset is read as UTC and written with the offset that it has then."""
    read = parse_datetime(moment.isoformat())
    assert read == moment.replace(tzinfo=UTC)
    assert read.utcoffset() == timedelta(0)
    assert format_datetime(read) == moment.isoformat(timespec="microseconds") + "+00:00"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Status.DONE, "done"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000000+00:00"),
        (None, None),
        ({"a": [1]}, {"a": [1]}),
        (False, False),
    ],
)
def test_values_of_fields_become_plain_json(value: object, plain: object) -> None:
    """Words become plain strings, dates their text, and what is JSON stays itself."""
    written = to_json_value(value)
    assert written == plain
    assert type(written) is type(plain)


def test_words_in_written_json_are_plain_strings() -> None:
    """`to_dict` holds no member of an enum, so that any encoder takes it."""
    plain = BulkEmail.example().to_dict()
    assert all(type(value) in {str, int, bool, dict, list, type(None)} for value in plain.values())


def test_many_unknown_keys_take_no_quadratic_time() -> None:
    """A row of a hundred thousand unknown keys keeps them all: copying the rest for each would never end."""
    row = {"id": "x", **{f"key{number}": number for number in range(100_000)}}
    assert len(decode(encode(row), BulkEmail).extra) == 100_000
