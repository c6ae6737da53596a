"""Every exception of the package, under one root.

A leaf: it imports nothing of the package, so that each module may raise these. There is one class for each thing that a
caller does differently. No error carries a header, and so none carries a key or a token.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from closebulk_async.intents import Intent
    from closebulk_async.models import BulkAction, Job, JobRef
    from closebulk_async.progress import Progress

SHOWN_BODY_LENGTH = 200
"""Characters of a response body that a message shows: enough for every text of the API, too few for an HTML page."""

SHOWN_REASON_LENGTH = 500
"""Characters of a reason that may quote what the server sent: it ends up in logs, and what is sent has any length."""


LOOKED_AT = 20
"""Characters of a text that are looked at for each one that is shown: a page may be indented, and no more than that."""


def shorten(text: str, *, limit: int = SHOWN_BODY_LENGTH) -> str:
    """`text` on one line and at most `limit` characters long, an ellipsis at the end where it was cut.

    Of a longer text only the begin is looked at: the words of one of megabytes would take a hundred times its room.
    """
    stripped = text.strip()
    begin = stripped[: LOOKED_AT * limit]
    line = " ".join(begin.split())
    is_whole = len(line) <= limit and len(begin) == len(stripped)
    return line if is_whole else line[: limit - 1] + "…"


class CloseBulkError(Exception):
    """The root of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own pickling calls the class with `args`, which fails for keyword-only parameters; an error must
        # survive the way out of a worker process.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[CloseBulkError], args: tuple[Any, ...], state: dict[str, Any]) -> CloseBulkError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    error.args = args
    return error


class InvalidRequestError(CloseBulkError, ValueError):
    """What the caller passed cannot be sent; nothing was."""


class FieldNotRequested(CloseBulkError, AttributeError):
    """The field was left out of a narrowed response (`fields=...`), so that its value is unknown."""

    def __init__(self, field: str, *, owner: str) -> None:
        """Name the field that was read and the model that it belongs to."""
        # AttributeError's own `name` and `obj` stay unset: with them the interpreter would search for a misspelling.
        super().__init__(
            f"{owner}.{field} was left out of the response: add {field!r} to fields=..., or read it again whole"
        )
        self.field = field


class ClientClosedError(CloseBulkError):
    """The client was used outside of `async with`, or was closed while something still waited for it."""


class TransportError(CloseBulkError):
    """No usable response arrived: connection refused, cut, timed out, or a body above the cap.

    `sent` is False only where it is proved that the server cannot have acted on the request.
    """

    def __init__(self, message: str, *, request: str, sent: bool) -> None:
        """Keep the request as `METHOD /path`, and whether it may have reached the server."""
        super().__init__(f"{request}: {message}")
        self.request = request
        self.sent = sent


class DecodeError(CloseBulkError):
    """The server answered with a success, but the body is not what the API promises."""

    def __init__(self, message: str, *, status: int, request: str, body: str) -> None:
        """Keep the status, the request as `METHOD /path` and the first 200 characters of the body."""
        self.body: str = shorten(body)
        begin = f"; it begins: {self.body}" if self.body else ""
        reason = shorten(message, limit=SHOWN_REASON_LENGTH)
        super().__init__(f"{request} answered {status} with a body that does not fit: {reason}{begin}")
        self.status = status
        self.request = request


class APIError(CloseBulkError):
    """The server answered with an error status; unknown codes are this class itself.

    `errors` are its general messages, `field_errors` maps dotted paths (`contacts.0.emails.0.email`) to theirs, `body`
    is the parsed JSON, or the text where it was none. `retry_after` is the wait that the server asks for, None where it
    asks for none.
    """

    def __init__(
        self,
        *,
        status: int | None,
        request: str,
        errors: Sequence[str] = (),
        field_errors: Mapping[str, str] | None = None,
        body: object = None,
        retry_after: timedelta | None = None,
    ) -> None:
        """Build the message from what the server said."""
        self.status = status
        self.request = request
        self.errors: tuple[str, ...] = tuple(errors)
        self.field_errors: dict[str, str] = dict(field_errors or {})
        self.body = body
        self.retry_after = retry_after
        said = [*self.errors, *(f"{path}: {text}" for path, text in self.field_errors.items())]
        head = f"{request} was answered with {_status_text(status)}" if status is not None else request
        super().__init__(f"{head}: {shorten('; '.join(said))}" if said else head)


def asked_wait(error: CloseBulkError) -> float | None:
    """Seconds that the server asked to wait when it answered with this error; None where it did not."""
    wait = error.retry_after if isinstance(error, APIError) else None
    return None if wait is None else wait.total_seconds()


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


class BadRequestError(APIError):
    """400: the server's validation refused the request."""


class DuplicateWebhookError(BadRequestError):
    """400: there is an active subscription for this URL and these events already."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The subscriptions that the service names; empty where it names none."""
        said = " ".join((*self.errors, *self.field_errors.values()))
        return tuple(dict.fromkeys(re.findall(r"\bwhsub_[A-Za-z0-9]+", said)))


class AuthenticationError(APIError):
    """401: the key or token is not valid. `status` is None when there was no key at all and nothing was sent."""


class PlanLimitError(APIError):
    """402: a limit of the organization's plan was reached."""


class PermissionDeniedError(APIError):
    """403: the key's owner may not do this."""


class NotFoundError(APIError):
    """404: no such object, or none that this key may see."""


class RateLimitedError(APIError):
    """429, and the wait that it asks for is longer than the policy allows.

    `status` is None where nothing was sent, because earlier answers had shown that the limit is used up for so long.
    """


class ServerError(APIError):
    """5xx: the server or something in front of it failed."""


ERROR_OF_STATUS: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PlanLimitError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitedError,
}


def error_of_status(status: int) -> type[APIError]:
    """The class for an HTTP status; codes that the API does not document fall back to APIError itself."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return ERROR_OF_STATUS.get(status, APIError)


class WaitError(CloseBulkError):
    """A wait ended without the job being done. The job itself belongs to Close and was not touched.

    `ref` names the job, `action` is the last snapshot (None before the first good poll), `progress` the last progress.
    """

    def __init__(
        self,
        message: str,
        *,
        ref: JobRef[Any],
        action: Job | None = None,
        progress: Progress[Any] | None = None,
    ) -> None:
        """Prefix the message with the ref, with which another process can go on."""
        super().__init__(f"{ref}: {message}")
        self.ref = ref
        self.action = action
        self.progress = progress


class BulkActionFailed(WaitError):
    """The job's status is `error`. The API gives no reason and no list of what failed."""


class BulkActionPaused(WaitError):
    """The job is paused and the caller asked to be told, or it was paused for so long that it cannot be resumed."""


class BulkActionStalled(WaitError):
    """Neither a counter nor the status moved for the stall timeout."""


class WaitTimeout(WaitError, TimeoutError):
    """The timeout of the wait passed; the job still runs."""


class WatchLostError(WaitError):
    """No poll succeeded for so long that nothing is known of the job any more; `__cause__` is the last failure."""


class WaitClosedError(WaitError, RuntimeError):
    """The wait was closed before its end was known, or two consumers iterate over it at the same time."""


class StartError(CloseBulkError):
    """A bulk action was not started, or it is not known whether it was."""


class UnsafeQueryError(StartError):
    """The query cannot exclude a single lead, and `allow_all=True` was not given; nothing was sent."""


class TooManyMatchesError(StartError):
    """The query matches more than `max_matches` allows; nothing was sent. `count` is how many it would act on."""

    def __init__(self, message: str, *, count: int) -> None:
        """Keep the count."""
        super().__init__(message)
        self.count = count


class UnfencedStartError(StartError):
    """The list of the kind is too long to be read before a start, so that a lost answer could not be made good.

    Before a start, nothing was sent; while reconciling, the outcome stays unknown. `StartPolicy.fence_requests` is the
    bound.
    """


class IdempotencyConflictError(StartError):
    """The idempotency key belongs to another request; nothing was sent. `intent` is the one that has it."""

    def __init__(self, message: str, *, intent: Intent) -> None:
        """Keep the intent that has the key."""
        super().__init__(message)
        self.intent = intent


class BlockedStartError(StartError):
    """Another start, which responses could not tell from this one, is unsettled; this one was not sent.

    `intent` is the other one: reconcile, adopt or abandon it, then start this one again.
    """

    def __init__(self, message: str, *, intent: Intent) -> None:
        """Keep the intent that is in the way."""
        super().__init__(message)
        self.intent = intent


class AmbiguousStartError(StartError):
    """The POST may or may not have started an action; it was not sent again.

    `intent` is what was to be started, `candidates` are actions that may be it. `__cause__` is what went wrong. Look in
    the list of the kind before you start it again; then `close.adopt`, or `close.abandon`.
    """

    def __init__(
        self,
        message: str,
        *,
        intent: Intent,
        candidates: Sequence[BulkAction] = (),
    ) -> None:
        """Keep the intent whose outcome is unknown, and what may be its action."""
        super().__init__(message)
        self.intent = intent
        self.candidates: tuple[BulkAction, ...] = tuple(candidates)
        self._reconcile: Callable[[str], Awaitable[BulkAction]] | None = None

    def offer(self, reconcile: Callable[[str], Awaitable[BulkAction]]) -> Self:
        """Look for the action, when the caller asks for it, by this function of the intent's id. For the client."""
        self._reconcile = reconcile
        return self

    async def reconcile(self) -> BulkAction:
        """Look for the action once more, and return it. Raises this error anew where its outcome stays unknown.

        Raises ClientClosedError where the client that raised this one is closed, or was in another process: there,
        `close.reconcile(error.intent.id)` does the same on a client with the same journal.
        """
        if self._reconcile is None:
            message = f"the client of this start is not here: call close.reconcile({self.intent.id!r}) on another one"
            raise ClientClosedError(message)
        return await self._reconcile(self.intent.id)

    def __reduce__(self) -> tuple[Any, ...]:
        # The way back to the client stays in its process.
        return _rebuild, (type(self), self.args, {**self.__dict__, "_reconcile": None})


class SearchIncompleteError(CloseBulkError):
    """A search had to end before all that matches was given. `given` is how many objects came, each of them once."""

    def __init__(self, message: str, *, given: int) -> None:
        """Keep how many came."""
        super().__init__(message)
        self.given = given


class JournalError(CloseBulkError):
    """The journal cannot be read or written, or is of a newer version. A start that fails with it was not sent."""


class InvalidWebhookError(CloseBulkError):
    """A request is not a webhook that was signed with this key, or not one that can be read.

    `is_signed` is True in the second case: it is the service's, which sends it again for days unless it is answered
    with success.
    """

    is_signed: bool = False


class SignatureKeyNotShown(CloseBulkError, AttributeError):
    """The key of a webhook subscription was shown when that was created, and is not known here. `id` names it.

    Pass the key that was kept then. Where it is lost, delete the subscription and create it anew.
    """

    def __init__(self, id: str) -> None:
        """Name the subscription."""
        super().__init__(
            f"the signature_key of {id} was shown when it was created and is not known here: pass the one that was "
            f"kept, or, if it is lost, delete({id!r}) and let it be created anew"
        )
        self.id = id
