"""What is answered under which path."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import attrs
from aiohttp import web

from closebulk_async.client import CloseBulk
from closebulk_async.dashboard.archive import Archive
from closebulk_async.dashboard.assets import Asset
from closebulk_async.dashboard.board import Board
from closebulk_async.dashboard.cards import CARD_PHASES, Card
from closebulk_async.dashboard.events import EventStream
from closebulk_async.dashboard.feed import Feed
from closebulk_async.dashboard.guards import COOKIE, Guard
from closebulk_async.dashboard.metrics import Exposition
from closebulk_async.dashboard.payloads import (
    describe_card,
    describe_intent,
    describe_job,
    describe_link,
    describe_query,
    describe_time,
)
from closebulk_async.dashboard.publishing import Publisher
from closebulk_async.dashboard.refusals import Refusal, answer_json
from closebulk_async.dashboard.sessions import LIFE
from closebulk_async.models import JobRef, Kind

MAX_FORM = 4096
"""Bytes of a login that are read."""

REFUSED = b'<p role="alert">This is not the token.</p>'
MESSAGE = b"<!--message-->"
"""Where the login page says why it is shown again."""


@attrs.frozen(kw_only=True)
class Routes:
    """The handlers, and what they answer from."""

    close: CloseBulk
    board: Board
    publisher: Publisher
    feed: Feed
    archive: Archive
    guard: Guard
    exposition: Exposition
    assets: Mapping[str, Asset]
    path: str
    """Below which a browser sends the session: the prefix of the application, `/` where it has none."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add all routes."""
        if self.path != "/":
            router.add_get("", self.redirect)
        router.add_get("/", self.page, name="page")
        router.add_get("/static/{path:.+}", self.static, name="static")
        router.add_get("/healthz", self.healthz, name="healthz")
        router.add_get("/metrics", self.metrics)
        login = router.add_resource("/login", name="login")
        login.add_route("GET", self.login_page)
        login.add_route("POST", self.login)
        router.add_post("/logout", self.logout)
        router.add_get("/api/session", self.session)
        router.add_get("/api/actions", self.actions)
        router.add_get("/api/events", self.events, allow_head=False)
        router.add_get("/api/actions/{ref}", self.action)
        router.add_post("/api/actions/{ref}/pause", self.pause)
        router.add_post("/api/actions/{ref}/resume", self.resume)

    # The page, and who sees it --------------------------------------------------------------------------------------

    async def redirect(self, request: web.Request) -> web.Response:
        """To the same with a slash at the end, below which the page finds its parts."""
        raise web.HTTPPermanentRedirect(f"{request.path.rpartition('/')[2]}/")

    async def page(self, request: web.Request) -> web.Response:
        """The page, or the form that asks for the token."""
        if self.guard.is_known(request):
            return self.assets["index.html"].answer(request)
        return self.assets["login.html"].answer(request, status=HTTPStatus.UNAUTHORIZED)

    async def static(self, request: web.Request) -> web.Response:
        """A file of the page."""
        asset = self.assets.get(request.match_info["path"])
        if asset is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such file")
        return asset.answer(request)

    async def login_page(self, request: web.Request) -> web.Response:
        """The form that asks for the token."""
        return self.assets["login.html"].answer(request)

    async def login(self, request: web.Request) -> web.Response:
        """Begin a session for whoever knows the token."""
        self.guard.check_site(request)
        try:
            session = await self.guard.sessions.begin(await _read_token(request))
        except BlockingIOError:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many try to log in: try again in a second") from None
        if session is None:
            again = self.assets["login.html"].filled(MESSAGE, REFUSED)
            return again.answer(request, status=HTTPStatus.UNAUTHORIZED)
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "./"})
        is_encrypted = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(
            COOKIE,
            session,
            max_age=int(LIFE),
            path=self.path,
            httponly=True,
            samesite="Strict",
            secure=is_encrypted,
        )
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End the session of the request."""
        self.guard.check_site(request)
        self.guard.sessions.end(request.cookies.get(COOKIE, ""))
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "./"})
        response.del_cookie(COOKIE, path=self.path, httponly=True, samesite="Strict")
        return response

    async def session(self, request: web.Request) -> web.Response:  # noqa: ARG002 - as aiohttp calls it
        """What the page may do, and what it has to send with it."""
        guard = self.guard
        needs_token = not guard.sessions.is_open
        return answer_json({"can_control": guard.allows_control, "csrf": guard.csrf, "needs_token": needs_token})

    # What machines ask ----------------------------------------------------------------------------------------------

    async def healthz(self, request: web.Request) -> web.Response:
        """Whether Close answers. Always a success: to restart the dashboard would not make Close answer."""
        link = self.board.link
        health: dict[str, Any] = {"status": "ok" if link.status == "ok" else "degraded"}
        if self.guard.is_known(request):
            health["close"] = describe_link(link)
        return answer_json(health)

    async def metrics(self, request: web.Request) -> web.Response:
        """For Prometheus."""
        body, content_type = self.exposition.encode(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    # Actions --------------------------------------------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.StreamResponse:
        """All changes, as they come."""
        stream = EventStream(publisher=self.publisher, may_go_on=lambda: self.guard.is_known(request))
        return await stream.run(request)

    async def actions(self, request: web.Request) -> web.Response:
        """All actions, or those of some kinds, phases and statuses; the newest first."""
        wanted = {name: frozenset(request.query.getall(name, ())) for name in ("kind", "phase", "status")}
        _check_words("kind", wanted["kind"], known=[*Kind])
        _check_words("phase", wanted["phase"], known=CARD_PHASES)
        state = self.publisher.describe_all()
        rows = [row for row in state["actions"] if all(row[name] in words for name, words in wanted.items() if words)]
        rows.sort(key=lambda row: row["created_at"] or "", reverse=True)
        return answer_json({**state, "actions": rows})

    async def action(self, request: web.Request) -> web.Response:
        """All that is known of one action."""
        ref: JobRef[Any] = JobRef.parse(request.match_info["ref"])
        card = self.board.find(ref)
        job = await self.archive.read(ref, card)
        intent = self.feed.intents.get(ref)
        shown = card or Card.of(job, now=self.publisher.clock.now())
        return answer_json(
            {
                "row": describe_card(shown),
                "action": describe_job(job),
                "query": describe_query(job),
                "timeline": [
                    {"status": status and str(status), "at": describe_time(at)} for status, at in shown.timeline
                ],
                "intent": None if intent is None else describe_intent(intent),
            }
        )

    async def pause(self, request: web.Request) -> web.Response:
        """Pause an action at Close."""
        self.guard.check_control(request)
        ref: JobRef[Any] = JobRef.parse(request.match_info["ref"])
        return self._answer_change(ref, await self.close.pause(ref))

    async def resume(self, request: web.Request) -> web.Response:
        """Let a paused action go on at Close."""
        self.guard.check_control(request)
        ref: JobRef[Any] = JobRef.parse(request.match_info["ref"])
        return self._answer_change(ref, await self.close.resume(ref))

    def _answer_change(self, ref: JobRef[Any], job: Any) -> web.Response:  # noqa: ANN401 - one of the kinds
        card = self.board.find(ref)
        if card is None or not card.is_live:
            self.feed.follow_again(ref)
        card = self.board.note_change(job, now=self.publisher.clock.now())
        self.publisher.note()
        return answer_json({"row": describe_card(card)})


def _check_words(name: str, given: frozenset[str], *, known: list[Kind] | tuple[str, ...]) -> None:
    if strange := sorted(given.difference(known)):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} may be {', '.join(known)}, and not {strange[0]!r}")


async def _read_token(request: web.Request) -> str:
    """What was typed into the form."""
    if request.content_length is None or request.content_length > MAX_FORM:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this is no login")
    try:
        body = await request.read()
    except (web.RequestPayloadError, ConnectionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not compressed as it says, or not whole") from None
    fields = parse_qs(body.decode(errors="replace"))
    return fields.get("token", [""])[0]
