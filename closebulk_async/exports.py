"""`close.exports`: leads or opportunities as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from closebulk_async.downloads import Download, stream
from closebulk_async.endpoints import Jobs
from closebulk_async.errors import DecodeError
from closebulk_async.export_wire import (
    DateFormat,
    ExportFormat,
    LeadExportType,
    build_lead_export,
    build_opportunity_export,
    read_export,
)
from closebulk_async.models import Export, Kind
from closebulk_async.operations import ActionLike, to_snapshot
from closebulk_async.partfile import check_target
from closebulk_async.policy import to_seconds_or_none
from closebulk_async.sourcing import Source
from closebulk_async.wire import salvage_action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from os import PathLike

    from closebulk_async.policy import Duration
    from closebulk_async.query import Query
    from closebulk_async.wire import Request

Format: TypeAlias = ExportFormat | Literal["csv", "json"]
Dates: TypeAlias = DateFormat | Literal["original", "iso8601", "excel"]


class Exports(Jobs[Export]):
    """Exports of leads and opportunities.

    An export only reads, so that no guard asks whether all leads are meant, and nothing is written into a journal.
    """

    kind = Kind.EXPORT

    async def create_leads(
        self,
        *,
        format: Format,
        type: LeadExportType | Literal["leads", "contacts", "lead_opps"] = LeadExportType.LEADS,
        s_query: Query | Mapping[str, Any] | None = None,
        query: str | None = None,
        results_limit: int | None = None,
        sort: Sequence[Mapping[str, Any]] | None = None,
        date_format: Dates | None = None,
        fields: Sequence[str] | None = None,
        include_activities: bool | None = None,
        include_smart_fields: bool | None = None,
        include_addresses: bool | None = None,
        include_custom_objects: bool | None = None,
        send_done_email: bool | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
    ) -> Export:
        """Have leads written into a file: all leads where no query is given.

        `s_query` is an Advanced-Filtering query, `query` the legacy search text. A row is what `type` says: a lead, a
        contact or an opportunity; JSON knows `leads` only, with contacts and opportunities in them. `fields` are the
        columns, all by default. `date_format` is for CSV, `include_activities` for JSON. `include_addresses` and
        `include_custom_objects` are in the vendor's schema and described nowhere. `extra` is merged into the body, for
        what this package does not know; `timeout` (a timedelta or seconds) bounds the answer.

        Raises, before any request, InvalidRequestError for what does not go together. After TransportError, ServerError
        or DecodeError an export may have been made, and is in `list()` then: it harms nobody. The request is sent again
        only where it is proved that the service did not act on it.
        """
        given = {
            "format": format,
            "type": type,
            "s_query": s_query,
            "query": query,
            "results_limit": results_limit,
            "sort": sort,
            "date_format": date_format,
            "fields": fields,
            "include_activities": include_activities,
            "include_smart_fields": include_smart_fields,
            "include_addresses": include_addresses,
            "include_custom_objects": include_custom_objects,
            "send_done_email": send_done_email,
            "extra": extra,
        }
        return await self._create(build_lead_export(self._with_defaults(given)), timeout)

    async def create_opportunities(
        self,
        *,
        format: Format,
        params: Mapping[str, Any] | None = None,
        date_format: Dates | None = None,
        fields: Sequence[str] | None = None,
        send_done_email: bool | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
    ) -> Export:
        """Have opportunities written into a file: all of them where no `params` are given.

        `params` are the filters of the API's list of opportunities, such as `{"status_type": "won"}`, and no query. The
        rest is as with `create_leads`.
        """
        given = {
            "format": format,
            "params": params,
            "date_format": date_format,
            "fields": fields,
            "send_done_email": send_done_email,
            "extra": extra,
        }
        return await self._create(build_opportunity_export(self._with_defaults(given)), timeout)

    def _with_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        # Of the client's defaults the only one that does not decide what is in the file.
        if given["send_done_email"] is None:
            given["send_done_email"] = self._engine.defaults.get("send_done_email")
        return given

    async def _create(self, request: Request, timeout: Duration | None) -> Export:
        seconds = to_seconds_or_none(timeout, name="timeout")
        response = await self._engine.transport.send(request, timeout=seconds)
        try:
            return read_export(request, response)
        except DecodeError:
            # What this answers is documented nowhere. Whoever has an id can read the rest.
            found = salvage_action(self.kind, response)
            if found is None:
                raise
        return await self.get(found.id)

    def download(self, export: ActionLike[Export], path: str | PathLike[str], *, decompress: bool = True) -> Download:
        """Fetch the file of an export that is done: await it for the path, or iterate over it for progress.

        It is written into a temporary file in the folder of `path`, which only its owner may read, and renamed when it
        is whole: until then, what stands at `path` stays as it is; then it is replaced. The service sends gzip, which
        is inflated, or, without `decompress`, kept as it was sent: name it `.gz` then. Its length, the checksums of
        gzip and one that the server gives are checked; nothing that does not fit is renamed.

        A cut connection is gone on from where it was, or, where the server does not give parts, begun anew, as often as
        `RetryPolicy` says without getting any further. When the link has expired, the export is read for a fresh one.
        There is no bound for all of it, and that of a request for each silence. The key is never sent along.

        Raises InvalidRequestError where `path` cannot be written or the export is not done, BulkActionFailed where it
        has failed; DecodeError for a file that is damaged; the APIError of the file's server, TransportError, and
        OSError where the disk refuses.
        """
        return Download(self._source(export), check_target(path), decompress=decompress)

    def stream(self, export: ActionLike[Export], *, decompress: bool = True) -> AsyncGenerator[bytes, None]:
        """The file of an export that is done, piece by piece, in pieces of any size up to some hundred kilobytes.

        As `download`; but what was given cannot be taken back: only after the last piece is it known that the file was
        whole and undamaged. Leave early inside `contextlib.aclosing(...)`.
        """
        return stream(self._source(export), decompress=decompress)

    def _source(self, export: ActionLike[Export]) -> Source:
        return Source(self._engine, self._ref(export), to_snapshot(export))
