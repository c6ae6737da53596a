"""The beginning and the end of a grant: a code becomes tokens, and tokens are revoked. One request each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.auth import check_secret
from closebulk_async.clock import Clock, SystemClock
from closebulk_async.connections import Connections
from closebulk_async.errors import AuthenticationError, TransportError, error_of_status
from closebulk_async.oauth import OAuth
from closebulk_async.oauth_wire import (
    BASE_URL,
    REVOKE_PATH,
    TOKEN_PATH,
    OAuthToken,
    build_form,
    describe_refusal,
    endpoint,
    is_final_refusal,
    read_token,
)
from closebulk_async.policy import RetryPolicy, Timeouts
from closebulk_async.settings import Settings, check_base_url, check_session
from closebulk_async.wire import is_success

if TYPE_CHECKING:
    import aiohttp

    from closebulk_async.wire import Response


async def exchange_code(
    code: str,
    *,
    client_id: str,
    client_secret: str,
    redirect_uri: str | None = None,
    base_url: str = BASE_URL,
    session: aiohttp.ClientSession | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    clock: Clock | None = None,
) -> OAuthToken:
    """The first token of a grant, for the code with which the browser came back from `authorize_url`.

    A code is good for one use, so it is sent once, whatever happens: after an error the user has to be asked again.
    `redirect_uri` is the one that `authorize_url` was given. Raises AuthenticationError where the code or the app is
    refused, another APIError for other answers, TransportError, DecodeError and InvalidRequestError.
    """
    check_secret(code, owner="exchange_code", name="code")
    clock = clock or SystemClock()
    auth = OAuth(client_id, client_secret, code)  # for what it hides
    asked_at = clock.now()
    form = build_form(client_id, client_secret, grant_type="authorization_code", code=code, redirect_uri=redirect_uri)
    answer = await _post(TOKEN_PATH, form, auth, base_url=base_url, session=session, timeouts=timeouts, clock=clock)
    return read_token(answer, request=f"POST {TOKEN_PATH}", asked_at=asked_at)


async def revoke_token(
    refresh_token: str,
    *,
    client_id: str,
    client_secret: str,
    base_url: str = BASE_URL,
    session: aiohttp.ClientSession | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    clock: Clock | None = None,
) -> None:
    """End a grant: its refresh token is good no more. Sent once; raises as `exchange_code`."""
    auth = OAuth(client_id, client_secret, refresh_token)
    form = build_form(client_id, client_secret, token=refresh_token)
    clock = clock or SystemClock()
    await _post(REVOKE_PATH, form, auth, base_url=base_url, session=session, timeouts=timeouts, clock=clock)


async def _post(
    path: str,
    form: bytes,
    auth: OAuth,
    *,
    base_url: str,
    session: aiohttp.ClientSession | None,
    timeouts: Timeouts,
    clock: Clock,
) -> Response:
    settings = Settings(
        base_url=check_base_url(base_url), auth=auth, timeouts=timeouts, retry=RetryPolicy(), clock=clock
    )
    connections = Connections(settings, session=check_session(session))
    connections.open()
    try:
        answer = await connections.send_form(endpoint(settings.base_url, path), form)
    finally:
        await connections.aclose()
    if isinstance(answer, TransportError):
        raise answer
    if not is_success(answer.status):
        kind = AuthenticationError if is_final_refusal(answer.status) else error_of_status(answer.status)
        raise kind(status=answer.status, request=f"POST {path}", errors=[describe_refusal(answer, redact=auth.redact)])
    return answer
