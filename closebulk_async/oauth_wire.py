"""Close's OAuth as pure functions: addresses, forms, and what an answer of the token endpoint means.

The vendor documents the grants `authorization_code` and `refresh_token`, both as forms with the secrets in their body,
and their answer. What the answer to a refused one holds is unconfirmed: it is read as RFC 6749 has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import (
    datetime,  # the converter reads annotations at run time
    timedelta,
)
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import attrs
import orjson

from closebulk_async.convert import NOTHING_EXTRA, JSONValue
from closebulk_async.errors import DecodeError, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.wire import Response

TOKEN_PATH = "/oauth2/token/"  # noqa: S105 - a path
REVOKE_PATH = "/oauth2/revoke/"
AUTHORIZE_PATH = "/oauth2/authorize/"

BASE_URL = "https://api.close.com/api/v1"

API_HOST, APP_HOST = "api.close.com", "app.close.com"
"""The API has its token endpoint on its own host; its users log in on another one."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OAuthToken(JSONValue):
    """What the service issued: store `to_dict()`, read it again by `from_dict`.

    `expires_at` is when the access token expires, by the clock of the client that asked for it; None where the service
    did not say. `refresh_token` is None where the app has not the scope `offline_access`. The repr shows neither token.
    """

    access_token: str
    refresh_token: str | None = None
    expires_at: datetime | None = None
    scope: str | None = None
    organization_id: str | None = None
    user_id: str | None = None
    extra: Mapping[str, Any] = NOTHING_EXTRA

    def __hash__(self) -> int:
        return hash(self.access_token)

    def __repr__(self) -> str:
        shown = self.to_dict()
        hidden = {name: "***" for name in ("access_token", "refresh_token") if shown.get(name)}
        return f"OAuthToken({', '.join(f'{name}={value!r}' for name, value in (shown | hidden).items())})"


def endpoint(base_url: str, path: str) -> str:
    """An endpoint of OAuth: it is on the host of the API, but not below its path."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}{path}"


def authorize_endpoint(base_url: str) -> str:
    """Where a browser asks its user: on the host of the app, where the API is Close's own."""
    parts = urlsplit(base_url)
    return endpoint(f"https://{APP_HOST}" if parts.hostname == API_HOST else base_url, AUTHORIZE_PATH)


def build_form(client_id: str, client_secret: str, **fields: str | None) -> bytes:
    """The body of a request to the token endpoint; what is None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return urlencode({"client_id": client_id, "client_secret": client_secret, **given}).encode()


def read_token(response: Response, *, request: str, asked_at: datetime, refresh_token: str | None = None) -> OAuthToken:
    """The token of a successful answer. Raises DecodeError, which shows nothing of the body.

    `refresh_token` is the one that stays good where the answer has none. The life of a token is counted from `asked_at`
    on, so that it ends here before it ends there.
    """
    try:
        body = orjson.loads(response.body)
    except ValueError:
        body = None
    found: Mapping[str, object] = body if isinstance(body, Mapping) else {}
    access_token = _text(found, "access_token")
    if access_token is None or not _can_stand_in_a_header(access_token):
        message = "there is no 'access_token' that is one"
        raise DecodeError(message, status=response.status, request=request, body="***")
    return OAuthToken(
        access_token=access_token,
        refresh_token=_text(found, "refresh_token") or refresh_token,
        expires_at=_add(asked_at, found.get("expires_in")),
        scope=_text(found, "scope"),
        organization_id=_text(found, "organization_id"),
        user_id=_text(found, "user_id"),
    )


def _text(found: Mapping[str, object], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) and value else None


def _can_stand_in_a_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _add(moment: datetime, seconds: object) -> datetime | None:
    """None where it is no number of seconds: a 401 will tell then. A life of nothing would be renewed for ever."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return moment + timedelta(seconds=seconds) if math.isfinite(seconds) and seconds > 0 else None
    except OverflowError:
        return None


def describe_refusal(response: Response, *, redact: Callable[[str], str]) -> str:
    """What the token endpoint said: `invalid_grant`; its status where it said nothing that could be read.

    `redact` hides secrets before the text is shortened, which could leave half of one.
    """
    try:
        body = orjson.loads(response.body)
    except ValueError:
        body = None
    words = [body.get("error"), body.get("error_description")] if isinstance(body, Mapping) else []
    said = shorten(redact(": ".join(word for word in words if isinstance(word, str) and word)))
    return said or f"it answered {response.status}"


def is_final_refusal(status: int) -> bool:
    """Whether the same grant will be refused for ever: RFC 6749 has 400, and 401 for the app's own credentials."""
    return status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}


def authorize_url(client_id: str, *, state: str, redirect_uri: str | None = None, base_url: str = BASE_URL) -> str:
    """Where a user's browser is sent to allow the app.

    It comes back to the app's redirect address with `code` or `error`, and with `state`, which should be random and has
    to be compared: that it comes back at all is how OAuth has it, and not in the vendor's documentation. `redirect_uri`
    is for an app with several addresses; the vendor wants https.
    """
    query = {"client_id": client_id, "response_type": "code", "state": state}
    if redirect_uri is not None:
        query["redirect_uri"] = redirect_uri
    return f"{authorize_endpoint(base_url)}?{urlencode(query)}"
