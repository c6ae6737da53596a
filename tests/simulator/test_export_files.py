"""Stored files as values, however long, and what is written into them."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import zlib
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.simulator.export_files import Part, StoredFile, crc_of_repeated
from closebulk_async.simulator.export_leads import make_leads
from closebulk_async.simulator.export_rows import N_DISTINCT, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.simulator.export_rows import Content

PARTS = st.lists(st.builds(Part, st.binary(max_size=200), st.integers(0, 5)), max_size=4)


def unpacked(content: Content) -> str:
    """All that a file says."""
    return b"".join(StoredFile(content.parts, n_rows=content.n_rows).unpacked()).decode()


def rows_of(content: Content) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(unpacked(content), newline="")))


@given(data=st.binary(max_size=50), times=st.integers(0, 300), before=st.binary(max_size=20))
def test_checksums_of_repetitions(data: bytes, times: int, before: bytes) -> None:
    """The checksum of a repeated text is that of the text written out."""
    crc = zlib.crc32(before)
    assert crc_of_repeated(data, times, crc) == zlib.crc32(data * times, crc)


@given(parts=PARTS, level=st.sampled_from([0, 1, 6]), in_members=st.booleans(), chunk=st.integers(1, 70))
def test_any_reader_of_gzip_reads_it(parts: list[Part], level: int, chunk: int, *, in_members: bool) -> None:
    """Packed, a file is gzip of the right length whose contents are its parts in their order."""
    whole = b"".join(part.data * part.times for part in parts)
    file = StoredFile(parts, n_rows=0, level=level, in_members=in_members)
    packed = list(file.packed(chunk=chunk))
    assert gzip.decompress(b"".join(packed)) == b"".join(file.unpacked()) == whole
    assert (file.size, file.length) == (len(whole), len(b"".join(packed)))
    assert all(0 < len(piece) <= chunk for piece in packed)
    assert file.md5 == hashlib.md5(b"".join(packed), usedforsecurity=False).digest()


@given(parts=PARTS, start=st.integers(0, 300), length=st.integers(0, 300), in_members=st.booleans())
def test_any_part_of_it(parts: list[Part], start: int, length: int, *, in_members: bool) -> None:
    """A part of the packed bytes is that slice of them."""
    file = StoredFile(parts, n_rows=0, in_members=in_members)
    whole = b"".join(file.packed())
    assert b"".join(file.packed(start, start + length)) == whole[start : start + length]
    assert b"".join(file.packed(start)) == whole[start:]


def test_a_huge_file_is_made_of_little() -> None:
    """Length and end of a file of a terabyte are known at once, and its trailer is that of gzip."""
    block = b"0123456789" * 10_000
    file = StoredFile([Part(block, 10_000_000)], n_rows=0, level=0)
    assert file.size == 10**12
    assert file.length > 10**12
    (trailer,) = file.packed(file.length - 4)
    assert int.from_bytes(trailer, "little") == 10**12 % 2**32


def test_one_gzip_member_or_several() -> None:
    """A file that was written in parts has a gzip header for each of them, else it has one in all."""
    parts = [Part(b"head"), Part(b"block", 3)]
    for in_members, headers in ((False, 1), (True, 4)):
        file = StoredFile(parts, n_rows=0, in_members=in_members)
        assert b"".join(file.packed()).count(b"\x1f\x8b\x08") == headers


LEADS: Mapping[str, object] = {"format": "csv", "type": "leads"}


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("rows", [0, 1, 2, N_DISTINCT, N_DISTINCT + 1, 2 * N_DISTINCT, 2 * N_DISTINCT + 7])
def test_as_many_rows_as_are_wanted(form: str, rows: int) -> None:
    """A file has exactly the rows of its plan; beyond some thousands they come again."""
    content = write({"format": form}, "leads", leads=None, rows=rows, size=None)
    found = rows_of(content) if form == "csv" else json.loads(unpacked(content))
    ids = [row["id"] for row in found]
    assert len(ids) == content.n_rows == rows
    assert len(set(ids)) == min(rows, N_DISTINCT)
    assert ids[N_DISTINCT:] == (ids[:N_DISTINCT] * 2)[: max(0, rows - N_DISTINCT)]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("size", [0, 1, 100, 1000, 12_345, 3_000_000])
def test_as_large_as_is_wanted(form: str, size: int) -> None:
    """A file that is to have a size has it, and not a whole row more."""
    content = write({"format": form}, "leads", leads=None, rows=None, size=size)
    file = StoredFile(content.parts, n_rows=content.n_rows)
    longest = max(len(part) for part in unpacked(content).encode().split(b"https://"))
    assert size <= file.size < max(size, 200) + 2 * longest


def test_a_row_for_each_lead_contact_or_opportunity() -> None:
    """The type decides what a row is: a lead, a contact of one, or an opportunity of one."""
    leads = list(islice(make_leads(), 9))
    for what, inside in (("contacts", "contacts"), ("lead_opps", "opportunities")):
        rows = rows_of(write(LEADS, what, leads=leads, rows=None, size=None))
        expected = [row["id"] for lead in leads for row in lead[inside]]  # type: ignore[attr-defined]  # a list
        assert [row["id"] for row in rows] == expected
        assert {row["lead_id"] for row in rows} <= {lead["id"] for lead in leads}
    rows = rows_of(write(LEADS, "leads", leads=leads, rows=None, size=None))
    assert [row["id"] for row in rows] == [lead["id"] for lead in leads]
    assert rows[4]["description"] == leads[4]["description"]


def test_json_holds_whole_leads() -> None:
    """A JSON file is a list of leads with what is below them."""
    content = write({"format": "json"}, "leads", leads=None, rows=5, size=None)
    rows = json.loads(unpacked(content))
    assert [len(row["contacts"]) for row in rows] == [2, 3, 1, 2, 3]
    assert rows[0]["contacts"][0]["lead_id"] == rows[0]["id"]


@pytest.mark.parametrize(
    ("date_format", "spelled"),
    [
        (None, "2024-01-01 13:30:00.000005+00:00"),
        ("original", "2024-01-01 13:30:00.000005+00:00"),
        ("iso8601", "2024-01-01T13:30:00+00:00"),
        ("excel", "2024-01-01 01:30:00 PM"),
    ],
)
def test_dates_are_spelled_as_is_wanted(date_format: str | None, spelled: str) -> None:
    """Each format of dates has the documented pattern."""
    content = write({**LEADS, "date_format": date_format}, "leads", leads=None, rows=5, size=None)
    assert rows_of(content)[4]["date_created"] == spelled


def test_the_fields_that_are_named() -> None:
    """Named fields come in the order of their names' list, and unknown ones not at all."""
    wanted = {"fields": ["url", "nonsense", "id"]}
    table = write({**LEADS, **wanted}, "leads", leads=None, rows=1, size=None)
    assert unpacked(table).splitlines()[0] == "url,id"
    listed = write({"format": "json", **wanted}, "leads", leads=None, rows=1, size=None)
    assert list(json.loads(unpacked(listed))[0]) == ["url", "id"]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("include_activities", "activities"),
        ("include_addresses", "addresses"),
        ("include_custom_objects", "custom_objects"),
        ("include_smart_fields", "num_emails"),
    ],
)
def test_flags_add_what_they_name(flag: str, name: str) -> None:
    """What a flag adds is there with it and not without it."""
    for value in (True, False):
        listed = write({"format": "json", flag: value}, "leads", leads=None, rows=1, size=None)
        assert (name in json.loads(unpacked(listed))[0]) is value
        table = write({**LEADS, flag: value}, "leads", leads=None, rows=1, size=None)
        assert (name in rows_of(table)[0]) is value


@pytest.mark.parametrize(("rows", "limit", "expected"), [(None, 3, 3), (2, 3, 2), (5, 3, 3), (None, 0, 0)])
def test_a_limit_of_results(rows: int | None, limit: int, expected: int) -> None:
    """There are no more leads than `results_limit`, whatever the plan says."""
    for leads in (None, list(islice(make_leads(), 50))):
        content = write({**LEADS, "results_limit": limit}, "leads", leads=leads, rows=rows, size=None)
        assert content.n_rows == len(rows_of(content)) == expected


def test_nothing_to_export() -> None:
    """Without any lead a table has its head, and a list is empty, however large they should be."""
    assert unpacked(write(LEADS, "leads", leads=[], rows=None, size=1000)).startswith("id,")
    assert unpacked(write({"format": "json"}, "leads", leads=[], rows=5, size=None)) == "[]"


def test_files_are_the_same_in_every_run() -> None:
    """Made-up rows come from nothing but their number."""
    content = write(LEADS, "leads", leads=None, rows=3, size=None)
    digest = hashlib.sha256(unpacked(content).encode()).digest()
    assert base64.b64encode(digest[:6]) == b"j4noPLza"
