"""OAuth 2.0 beside the API: codes of an authorization page, tokens that expire, refresh tokens that rotate.

What the vendor documents is how a code is exchanged for tokens and a refresh token for the next ones, by a form with
the secrets in its body, and that a refresh token is revoked once the next one is issued. The bodies of refusals are
those of RFC 6749, which is a guess.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import define, field, frozen

from .ids import make_event_id, make_id
from .messages import Answer, Request, json_answer
from .refusals import RefusedError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from .kinds import JsonObject
    from .knobs import Knobs

OAUTH_PATH = "/oauth2"

_FORM = "application/x-www-form-urlencoded"


@frozen(kw_only=True)
class IssuedTokens:
    """One answer of the token endpoint; there is no refresh token where the scope allows none."""

    grant_type: Literal["authorization_code", "refresh_token"]
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    at: datetime
    expires_at: datetime


@define(eq=False)
class _Grant:
    """What a user has allowed the app; of its refresh tokens only the last one counts."""

    refresh_token: str | None = None
    is_revoked: bool = False


class OAuth:
    """The one app of an organization, its grants and its tokens; `client_id` and `client_secret` are the app's."""

    def __init__(
        self,
        knobs: Knobs,
        *,
        organization_id: str,
        user_id: str,
        source: random.Random,
        now: Callable[[], datetime],
    ) -> None:
        self.client_id: str = make_event_id("oa2client_", source)
        self.client_secret: str = make_id("oa2secret_", source)
        self._knobs = knobs
        self._owner = {"organization_id": organization_id, "user_id": user_id}
        self._source = source
        self._now = now
        self._codes: dict[str, datetime] = {}
        self._by_refresh_token: dict[str, _Grant] = {}
        self._by_access_token: dict[str, tuple[_Grant, datetime]] = {}
        self._tokens: list[IssuedTokens] = []

    @property
    def tokens(self) -> tuple[IssuedTokens, ...]:
        """All that the token endpoint has issued, in order."""
        return tuple(self._tokens)

    @property
    def refreshes(self) -> int:
        """How often a refresh token was exchanged."""
        return sum(issued.grant_type == "refresh_token" for issued in self._tokens)

    def grant(self) -> str:
        """Let a user allow the app without any request; the refresh token, with no access token issued yet."""
        grant = _Grant()
        return self._rotate(grant)

    def make_code(self) -> str:
        """A code as the authorization page gives it: good for one exchange, and not for long."""
        code = make_id("", self._source)
        self._codes[code] = self._now() + timedelta(seconds=self._knobs.oauth_rules.code_lives_for)
        return code

    def expire_tokens(self) -> None:
        """Let all access tokens have expired; refresh tokens stay good."""
        self._by_access_token.clear()

    def accepts(self, access_token: str, now: datetime) -> bool:
        """Whether the API lets the bearer of that token in."""
        grant, expires_at = self._by_access_token.get(access_token, (None, now))
        return grant is not None and not grant.is_revoked and now < expires_at

    def answer(self, request: Request) -> Answer:
        """Carry out a request below `/oauth2/`; no rate limit is known there."""
        endpoints: Mapping[str, tuple[str, Callable[[Request], Answer]]] = {
            "authorize": ("GET", self._authorize),
            "token": ("POST", self._issue),
            "revoke": ("POST", self._revoke),
        }
        method, act = endpoints.get(request.path.removeprefix(OAUTH_PATH).strip("/"), ("", self._authorize))
        if not method:
            return json_answer({"error": "The requested URL was not found."}, status=HTTPStatus.NOT_FOUND)
        if request.method != method:
            return json_answer({"error": "Method Not Allowed"}, status=405, headers=(("allow", method),))
        try:
            return act(request)
        except RefusedError as refusal:
            return json_answer(refusal.payload, status=refusal.status)

    def _authorize(self, request: Request) -> Answer:
        query, rules = request.query, self._knobs.oauth_rules
        if query.get("client_id") != self.client_id:
            raise _refused("invalid_client", status=HTTPStatus.UNAUTHORIZED)
        address = query.get("redirect_uri") or rules.redirect_uri
        if not address or address != (rules.redirect_uri or address):
            # To an address that is not the app's nobody may be sent, not even with an error.
            raise _refused("invalid_request", description="redirect_uri is missing or not that of the app")
        if query.get("response_type") != "code":
            outcome = {"error": "unsupported_response_type"}
        else:
            outcome = {"error": "access_denied"} if rules.denies else {"code": self.make_code()}
        if "state" in query:
            outcome["state"] = query["state"]
        separator = "&" if urlsplit(address).query else "?"
        return Answer(HTTPStatus.FOUND, headers=(("location", f"{address}{separator}{urlencode(outcome)}"),))

    def _issue(self, request: Request) -> Answer:
        form = self._read_form(request)
        match form.get("grant_type"):
            case "authorization_code":
                expires_at = self._codes.pop(_needed(form, "code"), request.at)
                if expires_at <= request.at:
                    raise _refused("invalid_grant")
                return json_answer(self._tell(_Grant(), "authorization_code", request.at))
            case "refresh_token":
                grant = self._find_grant(_needed(form, "refresh_token"))
                return json_answer(self._tell(grant, "refresh_token", request.at))
            case None | "":
                raise _refused("invalid_request", description="grant_type is missing")
            case _:
                raise _refused("unsupported_grant_type")

    def _find_grant(self, refresh_token: str) -> _Grant:
        grant = self._by_refresh_token.get(refresh_token)
        if grant is None or grant.is_revoked:
            raise _refused("invalid_grant")
        if grant.refresh_token != refresh_token:
            grant.is_revoked = self._knobs.oauth_rules.reuse_revokes_grant
            raise _refused("invalid_grant")
        return grant

    def _tell(
        self, grant: _Grant, grant_type: Literal["authorization_code", "refresh_token"], at: datetime
    ) -> JsonObject:
        rules = self._knobs.oauth_rules
        refresh_token = self._rotate(grant) if "offline_access" in rules.scope.split() else None
        access_token, expires_at = make_id("", self._source), at + timedelta(seconds=rules.expires_in)
        self._by_access_token[access_token] = grant, expires_at
        issued = IssuedTokens(
            grant_type=grant_type,
            access_token=access_token,
            refresh_token=refresh_token,
            at=at,
            expires_at=expires_at,
        )
        self._tokens.append(issued)
        return {
            "token_type": "Bearer",
            "access_token": access_token,
            "expires_in": int(rules.expires_in),
            **({"refresh_token": refresh_token} if refresh_token else {}),
            "scope": rules.scope,
            **self._owner,
        }

    def _rotate(self, grant: _Grant) -> str:
        grant.refresh_token = make_id("", self._source)
        self._by_refresh_token[grant.refresh_token] = grant
        return grant.refresh_token

    def _revoke(self, request: Request) -> Answer:
        # RFC 7009: a token that is unknown or no longer good is revoked already. An access token is not looked for, as
        # the vendor names only refresh tokens here: whoever sends one finds that it still opens the API.
        grant = self._by_refresh_token.get(_needed(self._read_form(request), "token"))
        if grant is not None:
            grant.is_revoked = True
        return json_answer({})

    def _read_form(self, request: Request) -> Mapping[str, str]:
        """The fields of the body; raises `RefusedError` unless it is a form that proves who the app is."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            raise _refused("invalid_request", description=f"the body must be of type {_FORM}")
        pairs = parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)
        form = dict(pairs)
        if len(form) < len(pairs):
            raise _refused("invalid_request", description="a parameter was sent twice")
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            raise _refused("invalid_client", status=HTTPStatus.UNAUTHORIZED)
        return form


def _needed(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise _refused("invalid_request", description=f"{name} is missing")
    return form[name]


def _refused(error: str, *, status: int = 400, description: str | None = None) -> RefusedError:
    """A refusal in the words of RFC 6749."""
    more = {"error_description": description} if description else {}
    return RefusedError(status, {"error": error, **more})
