"""What stands in the file of an export: rows of CSV, or a JSON list of leads."""

from __future__ import annotations

import csv
import json
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate, islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from .export_files import Part
from .export_leads import make_leads
from .jobs import spell_date
from .kinds import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .kinds import Json

# A file that is larger repeats its rows: as many as this are made in a moment and packed in a tenth of a second.
N_DISTINCT = 5_000
_DEFAULT_ROWS = 100

_DATE_SPELLINGS: Mapping[str, Callable[[datetime], str]] = MappingProxyType(
    {
        "original": lambda date: date.isoformat(" ", timespec="microseconds"),
        "iso8601": lambda date: date.isoformat(timespec="seconds"),
        "excel": lambda date: date.astimezone(UTC).strftime("%Y-%m-%d %I:%M:%S %p"),
    },
)

# The names of columns are documented nowhere; these are the API's names of the fields.
_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "leads": ("id", "display_name", "description", "url", "status_label", "date_created", "date_updated"),
        "contacts": ("id", "name", "title", "email", "lead_id", "lead_name", "date_created", "date_updated"),
        "lead_opps": ("id", "lead_id", "lead_name", "status_id", "value", "confidence", "date_created", "date_updated"),
    },
)
# What a flag adds, and what is there for a lead that does not say.
_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "include_activities": "activities",
        "include_addresses": "addresses",
        "include_custom_objects": "custom_objects",
        "include_smart_fields": "num_emails",
    },
)
_UNSAID: JsonObject = {"activities": [], "addresses": [], "custom_objects": [], "num_emails": 0}


@frozen
class Content:
    """What a file says: `parts` one after the other, which are `n_rows` rows and what surrounds them."""

    parts: tuple[Part, ...]
    n_rows: int


def write(
    body: Mapping[str, Json], what: str, *, leads: Iterable[JsonObject] | None, rows: int | None, size: int | None
) -> Content:
    """The file that the body of a POST asks for; `what` is one of the types of a lead export.

    Of `leads` (by default some that are made up) each row comes once, unless `rows` or `size` says otherwise; then they
    are repeated as often as it takes. `results_limit` caps the leads, and `rows` as well.
    """
    limit = body.get("results_limit")
    cap = limit if isinstance(limit, int) else None
    if rows is None and size is None and leads is None:
        rows = _DEFAULT_ROWS
    if rows is not None and cap is not None:
        rows = min(rows, cap)
    documents = _documents(what, islice(make_leads() if leads is None else leads, cap))
    if leads is None:
        documents = islice(documents, N_DISTINCT if rows is None else min(rows, N_DISTINCT))
    form = _json_form(body) if body.get("format") == "json" else _csv_form(body, what)
    lines = [form.spell(document).encode() for document in documents]
    if size is not None and lines:
        rows = form.rows_for(size, lines)
    return form.lay_out(lines, len(lines) if rows is None else rows)


@frozen(kw_only=True)
class _Form:
    """How rows become a file: `between` ends each but the last, which `after` ends."""

    head: bytes
    spell: Callable[[JsonObject], str]
    between: bytes
    after: bytes
    tail: bytes

    def rows_for(self, size: int, lines: Sequence[bytes]) -> int:
        """How many of the lines, over and over, make a file of at least so many bytes."""
        ends = list(accumulate(len(line) + len(self.between) for line in lines))
        bare = size - len(self.head) - len(self.tail) + len(self.between) - len(self.after)
        times, rest = divmod(max(0, bare), ends[-1])
        return times * len(lines) + (bisect_left(ends, rest) + 1 if rest else 0)

    def lay_out(self, lines: Sequence[bytes], n_rows: int) -> Content:
        """The file of so many rows."""
        if not lines or not n_rows:
            return Content((Part(self.head + self.tail),), 0)
        times, n_last = divmod(n_rows - 1, len(lines))
        block = b"".join(line + self.between for line in lines) if times else b""
        last = self.between.join(lines[: n_last + 1]) + self.after + self.tail
        return Content((Part(self.head), Part(block, times), Part(last)), n_rows)


def _csv_form(body: Mapping[str, Json], what: str) -> _Form:
    wanted, there = body.get("fields"), (*_COLUMNS[what], *_flagged(body))
    columns = [name for name in wanted if name in there] if isinstance(wanted, list) else there
    spell_in = _DATE_SPELLINGS[str(body.get("date_format") or "original")]
    # Its `writerow` gives back what is written.
    writer = csv.writer(_Echo(), lineterminator="")

    def spell(row: JsonObject) -> str:
        values = (row.get(name) for name in columns)
        return str(writer.writerow([spell_in(value) if isinstance(value, datetime) else value for value in values]))

    head = str(writer.writerow(columns)).encode() + b"\r\n"
    return _Form(head=head, spell=spell, between=b"\r\n", after=b"\r\n", tail=b"")


class _Echo:
    def write(self, text: str) -> str:
        return text


def _json_form(body: Mapping[str, Json]) -> _Form:
    wanted, unflagged = body.get("fields"), set(_FLAGS.values()).difference(_flagged(body))

    def spell(row: JsonObject) -> str:
        names = wanted if isinstance(wanted, list) else row
        known = {name: row[name] for name in names if name in row and name not in unflagged}
        return json.dumps(known, default=spell_date, ensure_ascii=False, separators=(",", ":"))

    return _Form(head=b"[", spell=spell, between=b",\n", after=b"", tail=b"]")


def _flagged(body: Mapping[str, Json]) -> Iterator[str]:
    return (column for flag, column in _FLAGS.items() if body.get(flag) is True)


def _documents(what: str, leads: Iterable[JsonObject]) -> Iterator[JsonObject]:
    if what == "leads":
        return ({**_UNSAID, **lead} for lead in leads)
    inside = "contacts" if what == "contacts" else "opportunities"
    return (row for lead in leads for row in _rows(lead.get(inside)))


def _rows(value: Json) -> list[JsonObject]:
    return value if isinstance(value, list) else []
