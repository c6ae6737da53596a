"""The API as a function from requests to answers; knows no socket."""

from __future__ import annotations

import base64
import random
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from attrs import evolve

from .bodies import check_create, read_object
from .event_log import EventLog
from .export_leads import write_leads
from .exporting import Exports
from .jobs import Job
from .kinds import KINDS
from .limits import Limiter, Verdict
from .listing import cut_page, matching, narrowed, read_fields, read_filters, read_window
from .messages import Answer, Request, json_answer
from .oauth import OAUTH_PATH, OAuth
from .population import Population
from .refusals import RefusedError, refused
from .searching import Searches, answer_search
from .store import JobStore
from .webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from .kinds import JsonObject, Kind
    from .knobs import Knobs
    from .records import Lead

BASE_PATH = "/api/v1"


class Service:
    """Carries out requests for one organization."""

    def __init__(
        self, knobs: Knobs, *, api_key: str, bearer_tokens: Sequence[str], seed: int, now: Callable[[], datetime]
    ) -> None:
        self.store: JobStore = JobStore(seed=seed)
        self.organization_id: str = self.store.make_id("orga_")
        self.user_id: str = self.store.make_id("user_")
        self.webhooks: Webhooks = Webhooks(
            knobs,
            organization_id=self.organization_id,
            user_id=self.user_id,
            # Chance of their own: the ids of jobs are then the same with and without webhooks.
            source=random.Random(f"webhooks {seed}"),
        )
        self.events: EventLog = EventLog(knobs, self.store)
        self.exports: Exports = Exports(
            knobs, self._find_exported, organization_id=self.organization_id, user_id=self.user_id, seed=seed
        )
        self.oauth: OAuth = OAuth(
            knobs,
            organization_id=self.organization_id,
            user_id=self.user_id,
            source=random.Random(f"oauth {seed}"),
            now=now,
        )
        self.population: Population = Population(user_id=self.user_id, seed=seed)
        self._searches = Searches(self.population, knobs, user_id=self.user_id, seed=seed)
        self._knobs = knobs
        self._limiter = Limiter()
        basic = base64.b64encode(f"{api_key}:".encode()).decode()
        self._credentials = {f"basic {basic}", *(f"bearer {token}" for token in bearer_tokens)}

    def answer(self, request: Request) -> Answer:
        """Carry out one request at the instant of its arrival; whatever it asks, there is an answer."""
        if not request.path.endswith("/"):
            return self._answer_without_slash(request)
        if request.path.startswith(f"{OAUTH_PATH}/"):
            return self.oauth.answer(request)
        key = _credential(request)
        verdict = self._admit(request, key)
        if not verdict.allowed:
            typed = (("content-type", "application/json"),) if verdict.body else ()
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, verdict.body, (*typed, *verdict.headers))
        try:
            if not self._is_known(key, request):
                raise refused("Unauthorized", status=401)
            found = self._dispatch(_without_override(request))
            answer = found if isinstance(found, Answer) else json_answer(found)
        except RefusedError as refusal:
            answer = json_answer(refusal.payload, status=refusal.status, headers=refusal.headers)
        return answer.with_headers(verdict.headers)

    def make_job_id(self, kind: Kind) -> str:
        """A new id for a job of that kind."""
        return self.store.make_id(self._knobs.id_prefixes.get(kind.name, kind.id_prefix))

    def _answer_without_slash(self, request: Request) -> Answer:
        if self._knobs.slash_redirect is None:
            refusal = _not_found()
            return json_answer(refusal.payload, status=refusal.status)
        query = "?" + urlencode(request.query) if request.query else ""
        return Answer(self._knobs.slash_redirect, headers=(("location", f"{request.path}/{query}"),))

    def _admit(self, request: Request, key: str) -> Verdict:
        return self._limiter.admit(
            self._knobs.limits,
            key=key,
            is_known=self._is_known(key, request),
            group=group_of(request.method, request.path),
            now=request.at.timestamp(),
        )

    def _is_known(self, key: str, request: Request) -> bool:
        return key in self._credentials or self.oauth.accepts(key.removeprefix("bearer "), request.at)

    def _dispatch(self, request: Request) -> object:
        segments = _segments(request.path)
        endpoints = self.exports.endpoints(segments) or self._endpoints(segments)
        if request.method in endpoints:
            return endpoints[request.method](request)
        if request.method == "POST":
            raise refused("Did you mean to use PUT?", status=404)
        raise refused("Method Not Allowed", status=405, headers=(("allow", ", ".join(endpoints)),))

    def _endpoints(self, segments: Sequence[str]) -> Mapping[str, Callable[[Request], object]]:
        match segments:
            case ["me"]:
                return {"GET": self._me}
            case ["data", "search"]:
                return {"POST": self._search}
            case ["event", *below] if endpoints := self.events.endpoints(below):
                return endpoints
            case ["webhook", *below] if endpoints := self._webhook_endpoints(below):
                return endpoints
            case ["bulk_action", name, *below] if name in KINDS and (endpoints := self._job_endpoints(name, below)):
                return endpoints
            case _:
                raise _not_found()

    def _job_endpoints(self, name: str, below: Sequence[str]) -> Mapping[str, Callable[[Request], object]]:
        kind = KINDS[name]
        match below:
            case []:
                return {
                    "GET": lambda request: self._list(kind, request),
                    "POST": lambda request: self._create(kind, request),
                }
            case [job_id]:
                return {
                    "GET": lambda request: self._read(kind, job_id, request),
                    self._knobs.change_method: lambda request: self._change(kind, job_id, request),
                }
            case _:
                return {}

    def _webhook_endpoints(self, below: Sequence[str]) -> Mapping[str, Callable[[Request], object]]:
        match below:
            case []:
                return {"GET": self._list_webhooks, "POST": self._create_webhook}
            case [webhook_id]:
                return {
                    "GET": lambda request: self._read_webhook(webhook_id, request),
                    "PUT": lambda request: self._change_webhook(webhook_id, request),
                    "DELETE": lambda _: self._delete_webhook(webhook_id),
                }
            case _:
                return {}

    def _me(self, request: Request) -> JsonObject:
        row: JsonObject = {
            "email": "owner@example.com",
            "first_name": "Ada",
            "id": self.user_id,
            "last_name": "Example",
            "organizations": [{"id": self.organization_id, "name": "Example Inc."}],
        }
        return narrowed(row, request.query)

    def _search(self, request: Request) -> JsonObject:
        body = read_object(request.body, request.headers)
        if self.population.leads:
            return self._searches.answer(body, request)
        return answer_search(body, self._count_matches)

    def _count_matches(self, query: JsonObject) -> int:
        matches = self._knobs.matches
        if matches is None:
            return (self.store.coming_plan() or self._knobs.plan).leads
        return matches(query) if callable(matches) else matches

    def _list(self, kind: Kind, request: Request) -> JsonObject:
        knobs = self._knobs
        window = read_window(request.query, max_limit=knobs.max_limit, max_skip=knobs.max_skip)
        filters, fields = read_filters(request.query, kind), read_fields(request.query)
        found = self.store.listed(kind, knobs.list_order)
        if filters or not self.store.shows_all(kind, request.at):
            found = matching(found, filters, request.at)
        page, has_more = cut_page(found, window, at_most=knobs.short_pages)
        return {"data": [job.snapshot(request.at, fields) for job in page], "has_more": has_more}

    def _create(self, kind: Kind, request: Request) -> JsonObject:
        body = read_object(request.body, request.headers)
        check_create(kind, body)
        leads = self._find_leads(body, request)
        plan = self.store.next_plan(kind) or self._knobs.plan
        if leads is not None and not plan.says_counts:
            plan = evolve(plan, n_leads=len(leads), n_objects=len(leads))
        results_limit = body.get("results_limit")
        job = Job(
            id=self.make_job_id(kind),
            kind=kind,
            request=body,
            plan=plan.limited(results_limit if isinstance(results_limit, int) else None),
            created_at=request.at,
            organization_id=self.organization_id,
            user_id=self.user_id,
            lead_ids=tuple(lead.id for lead in leads or ()),
        )
        self.store.add(job)
        return job.snapshot(request.at, read_fields(request.query))

    def _find_leads(self, body: JsonObject, request: Request) -> tuple[Lead, ...] | None:
        """The leads that a new job acts on; None without any leads, and for a text of the old search language."""
        if not self.population.leads or (body.get("query") and not body.get("s_query")):
            return None
        return self._searches.find_leads(body, request)

    def _find_exported(self, body: JsonObject, request: Request) -> Iterable[JsonObject] | None:
        leads = self._find_leads(body, request)
        return None if leads is None else write_leads(leads, self.population.statuses)

    def _read(self, kind: Kind, job_id: str, request: Request) -> JsonObject:
        return self.store.find(kind, job_id, request.at).snapshot(request.at, read_fields(request.query))

    def _change(self, kind: Kind, job_id: str, request: Request) -> JsonObject:
        job = self.store.find(kind, job_id, request.at)
        job.change(read_object(request.body, request.headers), request.at)
        return job.snapshot(request.at, read_fields(request.query))

    def _list_webhooks(self, request: Request) -> JsonObject:
        rows = (self.webhooks.show(subscription) for subscription in self.webhooks.all)
        return {"data": [narrowed(row, request.query) for row in rows], "has_more": False}

    def _create_webhook(self, request: Request) -> Answer:
        subscription = self.webhooks.create(read_object(request.body, request.headers), request.at)
        row = narrowed(self.webhooks.show(subscription, is_new=True), request.query)
        location = ("location", f"{BASE_PATH}/webhook/{subscription.id}/")
        return json_answer(row, status=HTTPStatus.CREATED, headers=(location,))

    def _read_webhook(self, webhook_id: str, request: Request) -> JsonObject:
        return narrowed(self.webhooks.show(self.webhooks.find(webhook_id)), request.query)

    def _change_webhook(self, webhook_id: str, request: Request) -> JsonObject:
        body = read_object(request.body, request.headers)
        return narrowed(self.webhooks.show(self.webhooks.change(webhook_id, body, request.at)), request.query)

    def _delete_webhook(self, webhook_id: str) -> JsonObject:
        self.webhooks.delete(webhook_id)
        return {}


def group_of(method: str, path: str) -> str:
    """The endpoint group that a request counts for: method and path without an id, `"GET /bulk_action/email/"`.

    The service's groups are not published; a path and its items in one group per method is a guess.
    """
    segments = _segments(path)
    named = segments[: 1 if segments[:1] in (["event"], ["export"], ["webhook"]) else 2]
    return f"{method} /{''.join(f'{segment}/' for segment in named)}"


def _not_found() -> RefusedError:
    return refused("The requested URL was not found.", status=404)


def _segments(path: str) -> list[str]:
    """The parts of a path below the base path; empty for a path elsewhere."""
    return path.removeprefix(BASE_PATH).strip("/").split("/") if path.startswith(f"{BASE_PATH}/") else []


def _credential(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return f"{scheme.lower()} {secret.strip()}"


def _without_override(request: Request) -> Request:
    """The GET that a POST with `x-http-method-override` stands for; its parameters are in the body's `_params`."""
    if request.method != "POST" or request.headers.get("x-http-method-override", "").upper() != "GET":
        return request
    params = read_object(request.body, request.headers).get("_params")
    query = {name: str(value) for name, value in params.items()} if isinstance(params, dict) else {}
    return evolve(request, method="GET", query={**request.query, **query})
