"""The simulator itself: the API of one organization on a socket of 127.0.0.1, and what a test asks and sets."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, Unpack

from aiohttp import web
from attrs import define, evolve, field

from .clock import Clock, SystemClock, keep_waiting
from .delivery import compressed, deliver, hang_up
from .download_host import DownloadHost
from .events import make_event
from .export_controls import Exporting
from .faults import NO_FAULT, Fault
from .job_events import object_type
from .jobs import Job, read_date, spell_date
from .kinds import KINDS
from .knobs import Knobs
from .listener import HOST, Listener
from .messages import Answer, Request
from .plans import Duration, Plan, PlanChanges, to_seconds
from .populating import Populating
from .post_office import Delivery, PostOffice
from .scripts import FaultScript, Scripted
from .service import BASE_PATH, Service
from .webhooks import JOB_EVENTS, Subscription

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import TracebackType

    from aiohttp import web

    from .kinds import JsonObject
    from .oauth import OAuth

# Invented, and formed like a real one, so that whatever hides keys has to hide this one too.
DEFAULT_API_KEY = "api_0simulator0simulator00.0simulator0simulator000"
KindName = Literal["email", "edit", "delete", "sequence_subscription"]


def _clock_or_system(clock: Clock | None) -> Clock:
    return SystemClock() if clock is None else clock


@define(kw_only=True, eq=False)
class Simulator(Knobs, Populating, Exporting):
    """`async with Simulator() as sim:` serves until the block ends; the settings of `Knobs` are attributes of it.

    `clock` is what all its instants and waits come from, `port` 0 means any free one, `seed` makes the ids.
    `keep_requests` bounds the memory of `requests` and of `deliveries`. Left and entered again it serves the same jobs
    on the same port. Leads are given to it as `Populating` says, and exports are as
    `Exporting` says; their files are at `download_port`, of which 0 means any free one as well.
    """

    clock: Clock = field(default=None, converter=_clock_or_system)
    port: int = 0
    download_port: int = 0
    api_key: str = field(default=DEFAULT_API_KEY, repr=False)
    bearer_tokens: tuple[str, ...] = field(default=(), repr=False)
    seed: int = 0
    keep_requests: int = 10_000
    _service: Service = field(init=False, repr=False)
    _script: FaultScript[Fault] = field(factory=FaultScript, init=False, repr=False)
    _log: dict[int, Request] = field(factory=dict, init=False, repr=False)
    _n_requests: int = field(default=0, init=False, repr=False)
    # Chance of their own: the ids of jobs are then the same with and without events.
    _chance: random.Random = field(init=False, repr=False)
    _post: PostOffice = field(init=False, repr=False)
    _downloads: DownloadHost = field(init=False, repr=False)
    _listener: Listener = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._service = Service(
            self, api_key=self.api_key, bearer_tokens=self.bearer_tokens, seed=self.seed, now=self.clock.now
        )
        self._chance = random.Random(f"events {self.seed}")
        self._post = PostOffice(self, self._service, self.clock, keep=self.keep_requests, source=self._chance)
        self._downloads = DownloadHost(self, self._service.exports, self.clock, keep=self.keep_requests)
        self._listener = Listener(self._handle)

    async def __aenter__(self) -> Self:
        self.port = await self._listener.open(self.port)
        try:
            self.download_port = await self._downloads.open(self.download_port)
        except BaseException:
            await self._listener.close()
            raise
        self._post.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._post.close()
        finally:
            await self._downloads.close()
            await self._listener.close()

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end; raises `RuntimeError` when it is not being served."""
        if not self._listener.is_open:
            raise RuntimeError("the simulator has no address before `async with` has started it")
        return f"http://{HOST}:{self.port}{BASE_PATH}"

    @property
    def organization_id(self) -> str:
        """The organization that all keys and jobs belong to."""
        return self._service.organization_id

    @property
    def user_id(self) -> str:
        """The user that all keys belong to."""
        return self._service.user_id

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, in the order in which they were created or put here."""
        return self._service.store.jobs

    @property
    def requests(self) -> tuple[Request, ...]:
        """The latest `keep_requests` requests in the order of their arrival, open ones included."""
        return tuple(self._log.values())

    @property
    def webhooks(self) -> tuple[Subscription, ...]:
        """All subscriptions to events, oldest first, as they are now."""
        return self._service.webhooks.all

    @property
    def oauth(self) -> OAuth:
        """The organization's app, its grants and its tokens; the endpoints are at `/oauth2/` of the same origin."""
        return self._service.oauth

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The latest `keep_requests` deliveries of events in the order of the events, with what became of each."""
        return tuple(self._post.log)

    def next_job(self, *, kind: KindName | None = None, **plan: Unpack[PlanChanges]) -> None:
        """Plan the next job (of that kind) that is created; further calls queue up. The rest is as in `self.plan`."""
        self._service.store.queue_plan(self.plan.changed(plan), kind)

    def add_job(
        self,
        kind: KindName,
        row: Mapping[str, object] = MappingProxyType({}),
        *,
        plan: Plan | None = None,
        age: Duration = 0.0,
        without: Collection[str] = (),
        **fields: object,
    ) -> Job:
        """Put a job there as if it had been started `age` ago; it goes on by its plan.

        `row` and `fields` are response fields, taken as they are (datetimes are spelled) and also when the schema does
        not have them; `without` are fields that its responses lack. A job whose `status` is given stays as it is until
        it is paused or resumed, and then goes on by its plan from the share that was processed.
        """
        fields = {**row, **fields}
        counts: PlanChanges = {}
        if isinstance(n_objects := fields.get("n_objects"), int):
            counts["n_objects"] = n_objects
        if isinstance(n_leads := fields.get("n_leads"), int):
            counts["n_leads"] = n_leads
        job = Job(
            id=str(fields.get("id") or self._service.make_job_id(KINDS[kind])),
            kind=KINDS[kind],
            request={},
            plan=(plan or self.plan).changed(counts),
            created_at=read_date(fields.get("date_created")) or self.clock.now() - timedelta(seconds=to_seconds(age)),
            organization_id=self.organization_id,
            user_id=self.user_id,
            fixed={name: spell_date(value) if isinstance(value, datetime) else value for name, value in fields.items()},
            without=frozenset(without),
        )
        self._service.store.add(job)
        return job

    def add_webhook(
        self, url: str, *, events: Sequence[JsonObject] = JOB_EVENTS, event_filter: JsonObject | None = None
    ) -> Subscription:
        """Subscribe an address without a request, to all events of jobs by default; it knows the `signature_key`.

        Raises `RefusedError` where a POST would not be a 201.
        """
        body = {"url": url, "events": list(events), "event_filter": event_filter}
        return self._service.webhooks.create(body, self.clock.now())

    def send_event(self, action: str, about: Job | Mapping[str, object], **fields: object) -> JsonObject:
        """Tell an event about a job, or with any data, as if it had happened now; the event that was told and logged.

        `fields` replace what would be made up: `id`, `date_updated` and so on, each already spelled as in a payload.
        Without an `object_type` among them, data that is no job of the simulator's is taken for a bulk email.
        """
        now = self.clock.now()
        data = about.snapshot(now) if isinstance(about, Job) else dict(about)
        known = object_type(about) if isinstance(about, Job) else "bulk_action.email"
        event = make_event(action, data, at=now, source=self._chance, **{"object_type": known, **fields})
        self._service.events.note(event, now)
        self._post.publish(event)
        return event

    def fail_next(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        method: str | None = None,
        path: str | None = None,
        skip: int = 0,
    ) -> None:
        """Let the next `times` matching requests (None: all from now on) meet a fault of `simulator.faults`.

        `method` and a part of the `path` narrow what matches; `skip` lets so many matching requests pass first. Of
        several faults that match, the one that was scripted first counts.
        """
        method = method and method.upper()
        self._script.add(Scripted(fault=fault, times=times, method=method, path=path, skip=skip))

    def clear_faults(self) -> None:
        """Forget all faults that have not happened, those of downloads as well."""
        self._script.clear()
        self._downloads.script.clear()

    def drop_connections(self) -> None:
        """Close every connection now, idle ones and those with an open request."""
        self._listener.drop_connections()
        self._downloads.drop_connections()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        body = await http.read()
        fault = self._script.take(http.method, http.path) or NO_FAULT
        request = Request(
            method=http.method,
            path=http.path,
            query=dict(http.query),
            headers={name.lower(): value for name, value in http.headers.items()},
            body=body,
            at=self.clock.now(),
            fault=None if fault is NO_FAULT else fault.name,
        )
        return await self._respond(http, request, fault, self._record(request))

    async def _respond(self, http: web.BaseRequest, request: Request, fault: Fault, number: int) -> web.StreamResponse:
        await self._wait(fault.wait_before)
        # The server acts when it gets round to it, not when the request arrived.
        answer = self._service.answer(evolve(request, at=self.clock.now())) if fault.acts else Answer(0)
        await self._wait(fault.wait_after)
        if fault.cuts:
            return hang_up(http)
        answer = fault.spoil(fault.answer or answer)
        if number in self._log:
            self._log[number] = evolve(request, status=answer.status)
        if self.gzip:
            answer = compressed(answer, accepted=request.headers.get("accept-encoding", ""))
        return await deliver(http, answer, fault, self.clock)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await keep_waiting(self.clock, seconds)

    def _record(self, request: Request) -> int:
        self._n_requests += 1
        self._log[self._n_requests] = request
        if len(self._log) > self.keep_requests:
            del self._log[next(iter(self._log))]
        return self._n_requests
