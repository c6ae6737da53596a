"""OAuth: an access token that is renewed by a refresh token, which is good for one use.

The service revokes a refresh token as soon as it has issued the next one. So there is one refresh at a time, it comes
to its end whoever stops waiting for it, and its token is used only when the caller's own function has kept it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

import attrs

from closebulk_async.auth import HIDDEN, check_secret, hide, spellings
from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    TransportError,
)
from closebulk_async.oauth_wire import (
    TOKEN_PATH,
    OAuthToken,
    build_form,
    describe_refusal,
    endpoint,
    is_final_refusal,
    read_token,
)
from closebulk_async.settings import check_base_url
from closebulk_async.tasks import outlast
from closebulk_async.wire import hint, is_success

if TYPE_CHECKING:
    from closebulk_async.auth import FormSender
    from closebulk_async.wire import Response

logger: logging.Logger = logging.getLogger("closebulk_async")

OnToken: TypeAlias = Callable[[OAuthToken], Awaitable[object] | object]
"""Keeps a token: called with each new one, and awaited before that is used."""

Guard: TypeAlias = Callable[[], AbstractAsyncContextManager[OAuthToken | None]]
"""Entered around each refresh: keeps other processes from one, and gives the token that is stored now."""

EARLY = timedelta(seconds=60)
"""How long before its end a token is renewed: longer than a request takes, and than clocks differ."""

YOUNG = timedelta(seconds=60)
"""A token that is refused so soon after it was issued is not renewed: the next one would be refused as well."""

REMEMBERED = 16
"""Refreshes whose tokens are still hidden: with one an hour, those of most of a day. Older ones have long expired."""

REQUEST = f"POST {TOKEN_PATH}"

_LOG_IN = "log in again (closebulk login, or authorize_url and exchange_code)"


@attrs.frozen
class _Failure:
    """Why there is no new token. Each who waited for it raises an error of its own."""

    message: str
    status: int | None = None
    """The answer of the token endpoint that refused it; None where asking once more may help."""
    is_final: bool = False
    cause: BaseException | None = None

    def error(self) -> CloseBulkError:
        if self.status is not None:
            return AuthenticationError(status=self.status, request=REQUEST, errors=[self.message])
        # Whatever became of the refresh: of the request that waits for a token, nothing was sent.
        return TransportError(self.message, request=REQUEST, sent=False)


@attrs.frozen
class _Repeat:
    """An answer after which the refresh is asked for again; `failure` is what it was where it is not."""

    failure: _Failure
    is_lost: bool = False
    """The token may have been issued, and the one that asked for it be revoked."""
    asked: float | None = None


class _Closed:
    """The client that sent the refresh was closed before it came to an end: another one may go on."""


_Outcome: TypeAlias = _Failure | _Closed | None


class OAuth:
    """An `Auth` that renews itself: `CloseBulk(auth=OAuth(client_id, client_secret, refresh_token, on_token=keep))`.

    `on_token` is called with each new OAuthToken, and awaited if it is a coroutine function, before the token is used:
    the one before is revoked by then, so that what it does not keep is lost with the process. While it raises, requests
    fail with a TransportError whose `__cause__` is that error, and it is called again with the same token before the
    next one. It must not use the client, which waits for it.

    `access_token` and `expires_at` (aware) are what an earlier process kept; without them the first request begins with
    a refresh. `token_url` is the token endpoint where it is not that of the client's base URL. `guard` is for a grant
    that several processes use: an async context manager in which no other process refreshes, and that gives what is
    stored now; a token that is newer there is taken over instead of asked for.

    Any number of clients may share one, in one event loop at a time; they share its refreshes.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        *,
        on_token: OnToken | None = None,
        access_token: str | None = None,
        expires_at: datetime | None = None,
        token_url: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Check what was given; nothing is sent. Raises InvalidRequestError."""
        secrets = {"client_secret": client_secret, "refresh_token": refresh_token, "access_token": access_token}
        for name, value in {"client_id": client_id, **secrets}.items():
            if value is not None or name != "access_token":
                check_secret(value or "", owner="OAuth", name=name)
        if expires_at is not None and (not isinstance(expires_at, datetime) or expires_at.tzinfo is None):
            message = f"OAuth: expires_at must be an aware datetime and is {expires_at!r}"
            raise InvalidRequestError(message)
        self.client_id = client_id
        self._client_secret = client_secret
        self._refresh_token = refresh_token
        self._on_token = on_token
        if token_url is not None:
            check_base_url(token_url, name="token_url")
        self._token_url = token_url
        self._guard = guard
        self._token: OAuthToken | None = None
        self._generation = 0
        self._renew_at: datetime | None = None
        self._issued_at: datetime | None = None
        self._unkept: OAuthToken | None = None
        """A new token that `on_token` has not kept yet."""
        self._refusal: _Failure | None = None
        self._was_lost = False
        """Whether an answer was lost since the last one that came: the refresh token may be revoked."""
        self._task: asyncio.Task[_Outcome] | None = None
        self._sender: FormSender | None = None
        self._past: deque[str] = deque(maxlen=2 * REMEMBERED)
        self._hidden: tuple[str, ...] = ()
        if access_token is not None:
            self._use(OAuthToken(access_token=access_token, refresh_token=refresh_token, expires_at=expires_at))
        self._hide_all()

    def __repr__(self) -> str:
        return f"OAuth(client_id={self.client_id!r}, {HIDDEN})"

    @property
    def token(self) -> OAuthToken | None:
        """The newest one; None before the first refresh where no access token was given."""
        return self._token

    @property
    def generation(self) -> int:
        """How many access tokens it has had."""
        return self._generation

    def header(self) -> str:
        """`Bearer …` with the newest access token; `Bearer` alone before there is one."""
        return f"Bearer {self._token.access_token}" if self._token else "Bearer"

    def redact(self, text: str) -> str:
        """Hide the client secret and the tokens, those of the last sixteen refreshes included."""
        return hide(text, self._hidden)

    def is_fresh(self, now: datetime) -> bool:
        """Whether there is an access token that was kept, and that will be good for a while."""
        if self._token is None or self._unkept is not None:
            return False
        return self._renew_at is None or now < self._renew_at

    async def renew(self, sender: FormSender, *, refused: int | None = None) -> bool:
        """Return when there is a good token, and another one than that of the generation that was `refused`.

        False where that one is young, and the next would be refused as well. Raises AuthenticationError where the
        service refuses the grant, TransportError where it cannot be asked or `on_token` fails, and ClientClosedError.
        """
        if self._task is not None and asyncio.current_task() is self._task:
            raise InvalidRequestError("on_token and guard must not use the client: it waits for them")
        before = self._generation if refused is None else refused
        while self._unkept is not None or self._generation == before:
            if refused is not None and self._unkept is None and self._is_young(sender.now()):
                return False
            if self._refusal is not None:
                raise self._refusal.error()
            if not sender.is_open:
                raise ClientClosedError("this client was closed while it waited for an access token")
            outcome = await self._join(sender)
            if outcome is None:
                return True
            if isinstance(outcome, _Failure):
                if refused is None and self._can_do_without(outcome, sender.now()):
                    return True
                raise outcome.error() from outcome.cause
        return True

    async def drain(self, sender: FormSender) -> None:
        """Wait until the refresh of this sender has ended: an answer that nobody takes in is a login that is lost."""
        task = self._task
        is_its = task is not None and self._sender is sender and task.get_loop() is asyncio.get_running_loop()
        if task is not None and is_its and await outlast([task]):
            raise asyncio.CancelledError

    def _is_young(self, now: datetime) -> bool:
        return self._issued_at is not None and now - self._issued_at < YOUNG

    def _can_do_without(self, failure: _Failure, now: datetime) -> bool:
        """Whether the token that was to be renewed early is good for a moment more."""
        if failure.is_final or self._unkept is not None or self._token is None or self._token.expires_at is None:
            return False
        return now < self._token.expires_at

    async def _join(self, sender: FormSender) -> _Outcome:
        """The outcome of the refresh under way, or of a new one, which goes on when those who wait are cancelled."""
        loop, task = asyncio.get_running_loop(), self._task
        if task is not None and task.get_loop() is not loop and not task.done():
            if task.get_loop().is_running():
                raise InvalidRequestError("this OAuth is being renewed in another event loop: make one for each loop")
            task = None  # its loop has ended, and the answer with it
        if task is None or task.done():
            task = self._task = loop.create_task(self._run(sender), name="closebulk_async token")
            self._sender = sender
        await asyncio.wait({task})
        if task.cancelled():
            return _Failure("the refresh was cut off by the end of its event loop")
        return task.result()

    async def _run(self, sender: FormSender) -> _Outcome:
        async with AsyncExitStack() as stack:
            try:
                stored = None if self._guard is None else await stack.enter_async_context(self._guard())
            except Exception as exc:  # noqa: BLE001 - the caller's own
                return self._blame("guard", exc)
            if self._unkept is not None or (stored is not None and self._takes_over(stored)):
                failure = await self._keep()
                if failure is not None or self.is_fresh(sender.now()):
                    return failure
            outcome = await self._obtain(sender)
            return await self._keep() if isinstance(outcome, OAuthToken) else outcome

    def _takes_over(self, stored: OAuthToken) -> bool:
        """Take what another process has stored, if it is another grant's token than that of this one."""
        if stored.refresh_token in {None, self._refresh_token}:
            return False
        self._use(stored)
        return True

    async def _keep(self) -> _Failure | None:
        """Have the new token kept. Where that fails it stays in memory: the one before is revoked."""
        if self._unkept is not None and self._on_token is not None:
            try:
                outcome = self._on_token(self._unkept)
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception as exc:  # noqa: BLE001 - the caller's own
                return self._blame("on_token", exc)
        self._unkept = None
        return None

    def _blame(self, name: str, exc: Exception) -> _Failure:
        """A failure of the caller's own function. Its text may show a token, as those of databases show parameters."""
        said = self.redact(f"{name} raised {type(exc).__name__}: {exc}")
        logger.warning("no new access token is used: %s", said)
        shows = f"{exc} {exc!r} {exc.__cause__!r} {exc.__context__!r}"
        return _Failure(f"no new access token is used: {said}", cause=exc if self.redact(shows) == shows else None)

    async def _obtain(self, sender: FormSender) -> OAuthToken | _Failure | _Closed:
        """Ask for a token, again where that may help; once where an answer was lost."""
        patience, was_lost = sender.patience(), False
        while True:
            outcome = await self._ask(sender)
            if not isinstance(outcome, _Repeat):
                return outcome
            delay = None if was_lost and outcome.is_lost else patience.delay(asked=outcome.asked)
            if delay is None:
                logger.warning("no new access token: %s", outcome.failure.message)
                return outcome.failure
            was_lost = was_lost or outcome.is_lost
            logger.info("%s; trying again in %.1f s", outcome.failure.message, delay)
            await sender.sleep(delay)

    async def _ask(self, sender: FormSender) -> OAuthToken | _Failure | _Repeat | _Closed:
        """Send the refresh once."""
        form = build_form(
            self.client_id, self._client_secret, grant_type="refresh_token", refresh_token=self._refresh_token
        )
        was_lost, self._was_lost = self._was_lost, True  # until the answer is here
        asked_at = sender.now()
        try:
            answer = await sender.send_form(self._token_url or endpoint(sender.base_url, TOKEN_PATH), form)
        except ClientClosedError:
            self._was_lost = was_lost
            return _Closed()
        if isinstance(answer, TransportError):
            self._was_lost = was_lost or answer.sent
            return _Repeat(_Failure(str(answer), cause=answer), is_lost=answer.sent)
        if is_success(answer.status):
            return self._take(answer, asked_at)
        if answer.status in _PASSING or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._was_lost = was_lost or answer.status != HTTPStatus.TOO_MANY_REQUESTS
            return _Repeat(_Failure(f"{REQUEST} answered {answer.status}"), asked=hint(answer))
        self._was_lost = was_lost
        return self._refuse(answer)

    def _take(self, answer: Response, asked_at: datetime) -> OAuthToken | _Repeat:
        try:
            token = read_token(answer, request=REQUEST, asked_at=asked_at, refresh_token=self._refresh_token)
        except DecodeError as exc:
            return _Repeat(_Failure(str(exc), cause=exc), is_lost=True)
        self._was_lost = False
        self._unkept = token
        self._use(token, issued_at=asked_at)
        return token

    def _use(self, token: OAuthToken, *, issued_at: datetime | None = None) -> None:
        """Make it the current one; whoever calls this sees to it that it is kept before it is sent."""
        if self._token is not None:
            self._past.append(self._token.access_token)
        self._past.append(self._refresh_token)
        self._token, self._issued_at = token, issued_at
        self._refresh_token = token.refresh_token or self._refresh_token
        self._generation += 1
        self._renew_at = None
        if token.expires_at is not None:
            # One that lives for less than two minutes would be due at once, and so would the next.
            early = EARLY if issued_at is None else min(EARLY, (token.expires_at - issued_at) / 2)
            self._renew_at = token.expires_at - early
        self._hide_all()

    def _hide_all(self) -> None:
        current = () if self._token is None else (self._token.access_token,)
        self._hidden = spellings(self._client_secret, self._refresh_token, *current, *self._past)

    def _refuse(self, answer: Response) -> _Failure:
        said = describe_refusal(answer, redact=self.redact)
        if self._was_lost:
            said = f"{said}: the answer to an earlier refresh was lost, and maybe the one good refresh token with it"
        failure = _Failure(f"{said}; {_LOG_IN}", status=answer.status)
        if is_final_refusal(answer.status):
            failure = self._refusal = attrs.evolve(failure, is_final=True)
        logger.warning("no new access token: %s", failure.message)
        return failure


_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
