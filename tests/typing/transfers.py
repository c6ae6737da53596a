"""Exports and their files, searches, and what an action did to each object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import (
    BulkEmail,
    CloseBulk,
    DateFormat,
    Download,
    DownloadProgress,
    Export,
    ExportFormat,
    Exports,
    Hit,
    JobRef,
    LeadExportType,
    ObjectOutcome,
    Outcomes,
    OutcomeSummary,
    Page,
    Query,
    Search,
    SortKey,
    address,
    asc,
    by_id,
    contact,
    contact_email,
    contact_phone,
    contact_url,
    desc,
    lead,
    raw,
    saved_search,
    text_search,
)

if TYPE_CHECKING:
    import asyncio


async def make_exports(close: CloseBulk) -> None:
    """The words of the service are typed, as members and as texts."""
    assert_type(close.exports, Exports)
    made = await close.exports.create_leads(
        format="csv",
        type=LeadExportType.CONTACTS,
        s_query=lead.every(),
        date_format=DateFormat.ISO8601,
        fields=["name"],
    )
    assert_type(made, Export)
    assert_type(await close.exports.create_opportunities(format=ExportFormat.JSON, params={"q": "x"}), Export)
    assert_type(await close.exports.list(), Page[Export])
    await close.exports.create_leads(s_query=lead.every())  # type: ignore[call-arg]
    await close.exports.create_leads(format="xlsx")  # type: ignore[arg-type]
    await close.exports.create_leads(format="csv", type="people")  # type: ignore[arg-type]
    await close.exports.create_opportunities(format="csv", s_query=lead.every())  # type: ignore[call-arg]


async def fetch_exports(close: CloseBulk, export: Export, group: asyncio.TaskGroup) -> None:
    """A download can be iterated and awaited, as a wait can."""
    download = close.exports.download(export, "leads.csv")
    assert_type(download, Download)
    async with download as held:
        async for progress in held:
            assert_type(progress, DownloadProgress)
            assert_type(progress.ref, JobRef[Export])
            assert_type(progress.bytes_total, int | None)
            assert_type(progress.fraction, float | None)
            assert_type(progress.eta, timedelta | None)
    assert_type(await download, Path)
    assert_type(group.create_task(download.result()), "asyncio.Task[Path]")
    assert_type(close.exports.stream(export.ref), AsyncGenerator[bytes, None])
    close.exports.download(export)  # type: ignore[call-arg]


async def refuse_other_kinds(close: CloseBulk, email: BulkEmail) -> None:
    """Only exports have files."""
    close.exports.download(email, "leads.csv")  # type: ignore[arg-type]
    await close.emails.download("bulkemail_1", "leads.csv")  # type: ignore[attr-defined]


async def search(close: CloseBulk, mapping: Mapping[str, Any]) -> None:
    """A query or its JSON; rows are objects with their fields."""
    assert_type(close.search, Search)
    query = lead.name.full_words("ACME") & contact_email.email.phrase("@acme.example") | by_id("lead_1", "lead_2")
    assert_type(query, Query)
    assert_type(await close.search.count(query), int)
    assert_type(await close.search.count(mapping, object_type="contact"), int)
    rows = close.search.iterate(query, fields=["id", "name"], sort=[asc(lead.name), desc("date_created")], max_items=5)
    assert_type(rows, AsyncGenerator[Hit, None])
    async for hit in rows:
        assert_type(hit.id, str)
        assert_type(hit.fields, Mapping[str, Any])
    close.search.iterate("ACME")  # type: ignore[arg-type]
    close.search.iterate(query, sort=lead.name)  # type: ignore[arg-type]
    close.search.iterate(query, "lead")  # type: ignore[call-arg]


def ask_elsewhere() -> tuple[Query, SortKey]:
    """Each type of object has its own fields."""
    assert_type(address.city.full_words("Oslo"), Query)
    assert_type(contact_phone.phone.exists() | contact_url.url.exists(), Query)
    assert_type(lead.has(contact, contact.title.phrase("CEO")) & saved_search("save_1") & raw({"type": "x"}), Query)
    address.zip.exists()  # type: ignore[attr-defined]
    by_id(5)  # type: ignore[arg-type]
    text_search("ACME", mode="some_words")  # type: ignore[arg-type]
    asc(5)  # type: ignore[arg-type]
    return text_search("ACME", mode="phrase"), desc(contact.date_created)


async def read_outcomes(close: CloseBulk, email: BulkEmail) -> None:
    """One row for each object, and how many there were."""
    outcomes = close.outcomes(email, events=[("activity.email", "created")])
    assert_type(outcomes, Outcomes)
    async for outcome in outcomes:
        assert_type(outcome, ObjectOutcome)
        assert_type(outcome.at, datetime | None)
        assert_type(outcome.changed_fields, Sequence[str])
        assert_type(outcome.previous_data, Mapping[str, Any] | None)
    assert_type(outcomes.summary, OutcomeSummary)
    assert_type((await outcomes.summarize()).n_without_event, int | None)
    close.outcomes(5)  # type: ignore[arg-type]
    close.outcomes(email, events=["created"])  # type: ignore[list-item]
