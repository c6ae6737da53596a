"""How a test plans exports and spoils their downloads, and sees what became of both."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Unpack

from .download_faults import DownloadFault, as_download_fault
from .export_kinds import EXPORT_KINDS
from .jobs import read_date, spell_date
from .messages import Request
from .plans import to_seconds
from .scripts import Scripted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .clock import Clock
    from .download_host import Download, DownloadHost
    from .export_rules import ExportChanges, ExportPlan
    from .exporting import Export
    from .faults import Fault
    from .kinds import Json
    from .plans import Duration
    from .service import Service

ExportKindName = Literal["lead", "opportunity"]


class Exporting:
    """The exports of a simulator and the downloads of their files."""

    __slots__ = ()

    if TYPE_CHECKING:
        clock: Clock
        export_plan: ExportPlan
        _service: Service
        _downloads: DownloadHost

    @property
    def exports(self) -> tuple[Export, ...]:
        """All exports, in the order in which they were created or put here."""
        return self._service.exports.all

    @property
    def downloads(self) -> tuple[Download, ...]:
        """The latest `keep_requests` requests for files in the order of their arrival, open ones included."""
        return tuple(self._downloads.log)

    def next_export(self, *, kind: ExportKindName | None = None, **plan: Unpack[ExportChanges]) -> None:
        """Plan the next export (of that kind) that is created; calls queue up. The rest is as in `self.export_plan`."""
        self._service.exports.queue_plan(self.export_plan.changed(plan), kind)

    def add_export(
        self,
        kind: ExportKindName = "lead",
        request: Mapping[str, Json] = MappingProxyType({"format": "csv", "type": "leads"}),
        *,
        plan: ExportPlan | None = None,
        age: Duration = 0.0,
        without: Collection[str] = (),
        **fields: Json,
    ) -> Export:
        """Put an export there as if it had been asked for `age` ago, by this body; it goes on by its plan.

        `fields` are response fields, taken as they are (datetimes are spelled), and `without` are those that its
        responses lack. An export whose `status` is given stays as it is.
        """
        asked_at = read_date(fields.get("date_created")) or self.clock.now() - timedelta(seconds=to_seconds(age))
        asked = Request(method="POST", path=f"/api/v1/export/{kind}/", query={}, headers={}, body=b"", at=asked_at)
        fixed = {name: spell_date(value) if isinstance(value, datetime) else value for name, value in fields.items()}
        exports = self._service.exports
        return exports.add(
            EXPORT_KINDS[kind], request, plan or self.export_plan, asked, fixed=fixed, without=frozenset(without)
        )

    def fail_next_download(self, fault: DownloadFault | Fault, *, times: int | None = 1, skip: int = 0) -> None:
        """Let the next `times` requests for files (None: all from now on) meet a fault of `simulator.download_faults`.

        Of `simulator.faults`, those that delay an answer, replace it or cut the connection serve as well. `skip` lets
        so many requests pass first.
        """
        scripted = Scripted(fault=as_download_fault(fault), times=times, method=None, path=None, skip=skip)
        self._downloads.script.add(scripted)
