"""What every request passes before it is answered, and what every answer carries."""

from __future__ import annotations

import hmac
import logging
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

import attrs
from aiohttp import web

from closebulk_async.dashboard.hosts import is_same_origin, may_be_called
from closebulk_async.dashboard.refusals import Refusal, answer_error, status_of
from closebulk_async.dashboard.sessions import Sessions
from closebulk_async.errors import CloseBulkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler


logger: logging.Logger = logging.getLogger("closebulk_async")

HEADERS: Mapping[str, str] = {
    # Scripts, styles and data come from this server alone, and nothing that is written into the page can run.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every answer, errors included."""

COOKIE = "closebulk_session"

OPEN_ROUTES = frozenset({"page", "login", "static", "healthz"})
"""The routes that need no token; what they answer without one holds nothing of Close's."""

PAGES = frozenset({"page", "login", "static"})
"""The routes to which a link on any page may lead."""


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - as aiohttp calls it
    """For `on_response_prepare`: it sees also what aiohttp answers by itself."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")


@attrs.define(kw_only=True, eq=False)
class Guard:
    """Who may ask, under which name, and who may change something."""

    allowed_hosts: frozenset[str]
    sessions: Sessions
    allows_control: bool
    csrf: str = attrs.field(init=False, repr=False, factory=lambda: secrets.token_urlsafe(32))
    """What a page reads and sends back: another site's page can send a request, and not read this."""

    def is_known(self, request: web.Request) -> bool:
        """Whether a request comes with the token or in a session, where that is needed."""
        if self.sessions.is_open:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.sessions.is_token(token.strip()):
            return True
        return self.sessions.is_session(request.cookies.get(COOKIE, ""))

    def check_control(self, request: web.Request) -> None:
        """Refuse whoever may not change anything."""
        if not self.allows_control:
            raise Refusal(HTTPStatus.FORBIDDEN, "this dashboard only shows: it was started without --allow-control")
        self.check_site(request)
        origin = request.headers.get("Origin")
        if origin is not None and not is_same_origin(origin, request.headers.get("Host")):
            raise Refusal(HTTPStatus.FORBIDDEN, "the request comes from a page of another host")
        given = request.headers.get("X-CSRF-Token", "").encode(errors="replace")
        if not hmac.compare_digest(given, self.csrf.encode()):
            raise Refusal(HTTPStatus.FORBIDDEN, "the X-CSRF-Token is not the one that api/session gives")

    def check_site(self, request: web.Request) -> None:
        """Refuse what a browser says was caused by another site's page.

        The login form has no more than this: under `Referrer-Policy: no-referrer` a form's Origin is `null`.
        """
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Refusal(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")

    def _check_cause(self, request: web.Request) -> None:
        """Refuse what other sites' pages cause, although they could not read the answer: it may cost a request."""
        is_page = request.match_info.route.name in PAGES
        if not is_page and request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
            raise Refusal(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")

    def _check_known(self, request: web.Request) -> None:
        if request.match_info.route.name not in OPEN_ROUTES and not self.is_known(request):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "a token is needed")

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer those requests that are for this dashboard, from those who may ask."""
        if not may_be_called(request.headers.get("Host"), self.allowed_hosts):
            logger.warning(
                "the dashboard was called by a name that is not allowed: %.100r", request.headers.get("Host")
            )
            text = "This is not the host that was asked for. Allow its name (--allow-host, allowed_hosts) if it is.\n"
            return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)
        try:
            self._check_cause(request)
            self._check_known(request)
            return await handler(request)
        except Refusal as exc:
            answer = answer_error(str(exc), status=exc.status)
            if exc.status is HTTPStatus.UNAUTHORIZED:
                answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        except CloseBulkError as exc:
            return answer_error(str(exc), status=status_of(exc))
        except web.HTTPException as exc:
            return _in_json(exc)
        except Exception:
            logger.exception("the dashboard could not answer %s %s", request.method, request.path)
            return answer_error("the dashboard has made a mistake; its log says which", status=HTTPStatus(500))


def _in_json(exc: web.HTTPException) -> web.Response:
    """What aiohttp refuses, as all else is refused here; what it says beside (`Allow`, say) stays."""
    answer = answer_error(exc.reason, status=HTTPStatus(exc.status))
    for name, value in exc.headers.items():
        if name not in {"Content-Type", "Content-Length"}:
            answer.headers[name] = value
    return answer
