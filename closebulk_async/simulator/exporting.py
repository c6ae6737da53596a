"""Exports: what may be asked for, how they go, and the answers of `/export/`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import define, field

from .bodies import read_object
from .export_files import StoredFile
from .export_kinds import EXPORT_KINDS, OPPORTUNITY, check_export
from .export_links import Links
from .export_rows import write
from .export_rules import ExportPlan
from .ids import make_id
from .jobs import Job, echo, spell_date
from .kinds import Json, JsonObject, Kind
from .knobs import Knobs
from .listing import cut_page, matching, place, read_fields, read_window
from .refusals import refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from .messages import Request

Answering = Callable[["Request"], object]
Finding = Callable[[JsonObject, "Request"], Iterable[JsonObject] | None]

# An export passes through the same phases as a bulk action, by other names.
_STATUSES: Mapping[str, str] = MappingProxyType(
    {"created": "created", "loading": "started", "processing": "in_progress"},
)


@define(eq=False, kw_only=True)
class Export(Job):
    """An export of the simulator: a job without pauses that leaves a file; `content` says what there is to the file."""

    content: ExportPlan
    _knobs: Knobs = field(repr=False)
    _links: Links = field(repr=False)
    # In the order of the file; None for some that are made up.
    _leads: Iterable[JsonObject] | None = field(default=None, repr=False)

    @cached_property
    def file(self) -> StoredFile:
        """The file, which the store has once the export is done; made when it is first asked for."""
        what = "lead_opps" if self.kind is OPPORTUNITY else str(self.request.get("type", "leads"))
        written = write(self.request, what, leads=self._leads, rows=self.content.rows, size=self.content.size)
        in_members = self._knobs.export_rules.in_members
        return StoredFile(written.parts, n_rows=written.n_rows, level=self.content.level, in_members=in_members)

    @property
    def ended_at(self) -> datetime:
        """When it is done, by its plan."""
        return self.created_at + timedelta(seconds=self.plan.duration)

    @property
    def file_name(self) -> str:
        """What the store knows the file by."""
        return f"{self.id}.{self.request.get('format', 'csv')}"

    def status(self, now: datetime) -> Json:
        """The status word of a response at that instant."""
        natural = self.plan.status((now - self.created_at).total_seconds())
        return self.fixed.get("status", _STATUSES.get(natural, natural))

    def snapshot(self, now: datetime, only: Collection[str] | None = None) -> JsonObject:
        """The response object at that instant, sorted by name; `only` names the fields to give."""
        made = {**self._known(now), **self._unconfirmed(now)}
        row = {name: make() for name, make in made.items() if only is None or name in only}
        row |= {name: value for name, value in self.fixed.items() if only is None or name in only}
        return {name: row[name] for name in sorted(row) if name not in self.without}

    def _known(self, now: datetime) -> Mapping[str, Callable[[], Json]]:
        status = self.status(now)
        lasted = 0.0 if status == "created" else min((now - self.created_at).total_seconds(), self.plan.duration)
        lifetime = self._knobs.export_rules.link_lifetime
        return {
            "created_by": lambda: self.user_id,
            "date_created": lambda: spell_date(self.created_at),
            "date_updated": lambda: spell_date(self.created_at + timedelta(seconds=lasted)),
            "download_url": lambda: (
                self._links.make(self.file_name, now=now, lifetime=lifetime) if status == "done" else None
            ),
            "id": lambda: self.id,
            "organization_id": lambda: self.organization_id,
            "status": lambda: status,
        }

    def _unconfirmed(self, now: datetime) -> Mapping[str, Callable[[], Json]]:
        rules, active = self._knobs.export_rules, (now - self.created_at).total_seconds()
        fields: dict[str, Callable[[], Json]] = {}
        if rules.echoes:
            fields |= {known.name: partial(echo, known, self.request.get(known.name)) for known in self.kind.fields}
        if rules.shows_counts:
            fields["n_docs"] = lambda: self.file.n_rows if self.plan.is_counted(active) else None
            fields["n_docs_processed"] = lambda: self.plan.processed(self.file.n_rows, active)
        return fields


class Exports:
    """All exports of an organization, and what `/export/` answers.

    `find_leads` says which leads the body of a POST finds, None where there are none at all.
    """

    def __init__(self, knobs: Knobs, find_leads: Finding, *, organization_id: str, user_id: str, seed: int) -> None:
        # Chance of their own: the ids of bulk actions are then the same with and without exports.
        self._random = random.Random(f"exports {seed}")
        self.links: Links = Links(secret=self._random.randbytes(32))
        self.listeners: list[Callable[[Job], None]] = []
        self._knobs = knobs
        self._find_leads = find_leads
        self._organization_id = organization_id
        self._user_id = user_id
        self._by_id: dict[str, Export] = {}
        self._plans: list[tuple[str | None, ExportPlan]] = []

    @property
    def all(self) -> tuple[Export, ...]:
        """All exports in the order in which they were put here."""
        return tuple(self._by_id.values())

    def queue_plan(self, plan: ExportPlan, kind: str | None) -> None:
        """Keep a plan for the next export of that kind (of any kind when None)."""
        self._plans.append((kind, plan))

    def add(
        self,
        kind: Kind,
        body: Mapping[str, Json],
        plan: ExportPlan,
        request: Request,
        *,
        fixed: Mapping[str, Json] = MappingProxyType({}),
        without: frozenset[str] = frozenset(),
    ) -> Export:
        """Keep a new export of that request; raises `ValueError` when its id is taken.

        Fields of its responses may be set or taken out by hand.
        """
        # The leads are those of now; what the file says of them is what they are when it is made.
        leads = self._find_leads({} if kind is OPPORTUNITY else dict(body), request)
        export = Export(
            id=str(fixed.get("id") or make_id(self._knobs.id_prefixes.get("export", kind.id_prefix), self._random)),
            kind=kind,
            request=body,
            plan=plan.timing(),
            content=plan,
            created_at=request.at,
            organization_id=self._organization_id,
            user_id=self._user_id,
            fixed=dict(fixed),
            without=without,
            knobs=self._knobs,
            links=self.links,
            leads=leads,
        )
        if export.id in self._by_id:
            raise ValueError(f"there is an export with the id {export.id!r} already")
        self._by_id[export.id] = export
        export.listeners = self.listeners
        export.tell_listeners()
        return export

    def find_file(self, name: str, now: datetime) -> Export | None:
        """The export whose file has that name, if it is done by then."""
        export = self._by_id.get(name.rpartition(".")[0])
        return export if export is not None and export.file_name == name and export.status(now) == "done" else None

    def endpoints(self, segments: Sequence[str]) -> Mapping[str, Answering]:
        """What is answered at a path of `/export/` and below, by method; nothing for a path that leads elsewhere."""
        match segments:
            case ["export"]:
                return {"GET": partial(self._list, tuple(EXPORT_KINDS.values()))}
            case ["export", name] if name in EXPORT_KINDS:
                kind = EXPORT_KINDS[name]
                return {"GET": partial(self._list, (kind,)), "POST": partial(self._create, kind)}
            case ["export", export_id]:
                return {"GET": partial(self._read, tuple(EXPORT_KINDS.values()), export_id)}
            case ["export", name, export_id] if name in EXPORT_KINDS:
                return {"GET": partial(self._read, (EXPORT_KINDS[name],), export_id)}
            case _:
                return {}

    def _list(self, kinds: Sequence[Kind], request: Request) -> JsonObject:
        knobs = self._knobs
        window = read_window(request.query, max_limit=knobs.max_limit, max_skip=knobs.max_skip)
        found: list[Job] = [export for export in self.all if export.kind in kinds]
        if knobs.list_order in ("newest", "oldest"):
            found.sort(key=attrgetter("created_at"))
        else:
            found.sort(key=partial(place, order=knobs.list_order))
        if knobs.list_order == "newest":
            found.reverse()
        page, has_more = cut_page(matching(found, {}, request.at), window, at_most=knobs.short_pages)
        fields = read_fields(request.query)
        return {"data": [export.snapshot(request.at, fields) for export in page], "has_more": has_more}

    def _create(self, kind: Kind, request: Request) -> JsonObject:
        body = read_object(request.body, request.headers)
        check_export(kind, body)
        export = self.add(kind, body, self._next_plan(kind), request)
        return export.snapshot(request.at, read_fields(request.query))

    def _read(self, kinds: Sequence[Kind], export_id: str, request: Request) -> JsonObject:
        export = self._by_id.get(export_id)
        if export is None or export.kind not in kinds or not export.is_shown(request.at):
            raise refused("Object does not exist.", status=404)
        return export.snapshot(request.at, read_fields(request.query))

    def _next_plan(self, kind: Kind) -> ExportPlan:
        for index, (wanted, plan) in enumerate(self._plans):
            if wanted in (None, kind.name):
                del self._plans[index]
                return plan
        return self._knobs.export_plan
