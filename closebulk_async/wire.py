"""Close's HTTP as pure functions: what to send for each operation, and what an answer means.

Nothing here touches a socket. The tables are the only place that knows paths; a fifth kind of action is one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import attrs
import orjson

from closebulk_async.convert import decode, decode_page
from closebulk_async.error_bodies import as_list, read_errors
from closebulk_async.errors import (
    SHOWN_BODY_LENGTH,
    DecodeError,
    FieldNotRequested,
    InvalidRequestError,
    error_of_status,
    shorten,
)
from closebulk_async.models import (
    ID_PATTERN,
    BulkAction,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    Export,
    Job,
    JobRef,
    Kind,
    Page,
    Status,
)
from closebulk_async.ratelimit import retry_after

A = TypeVar("A", bound=Job)


@attrs.frozen
class KindOfJob(Generic[A]):
    """One row of `KINDS`: where a kind lives and what its objects are."""

    kind: Kind
    model: type[A]
    path: str
    echoed: frozenset[str]
    """What of a POST's body the object shows again, beside `ECHOED_BY_ALL`."""
    list_filters: frozenset[str] = frozenset()
    polled: Sequence[str] | None = ("date_updated",)
    """What polls read beside `always`: since when a paused action is paused. None for all that there is."""
    counters: Sequence[str] = ("n_leads", "n_leads_processed", "n_objects", "n_objects_processed")

    @property
    def always(self) -> Sequence[str]:
        """What a narrowed read asks for besides what the caller named, so that it can still be told how far it is."""
        return ("id", "status", *self.counters)

    @property
    def fields(self) -> frozenset[str]:
        """The documented fields."""
        return frozenset(field.name for field in attrs.fields(self.model)) - {"extra"}


ECHOED_BY_ALL: Mapping[str, object] = MappingProxyType(
    {"query": None, "results_limit": None, "s_query": {}, "send_done_email": True, "sort": []}
)
"""What objects of every kind show again of the POST, with what they show where it was not sent."""

KINDS: Mapping[Kind, KindOfJob[Any]] = MappingProxyType(
    {
        Kind.EMAIL: KindOfJob(
            Kind.EMAIL,
            BulkEmail,
            "/bulk_action/email/",
            echoed=frozenset({"contact_preference", "email_account_id", "sender", "template_id"}),
            list_filters=frozenset({"template_id"}),
        ),
        Kind.DELETE: KindOfJob(Kind.DELETE, BulkDelete, "/bulk_action/delete/", echoed=frozenset({"bulk_object_type"})),
        # Not `custom_field_id`, `custom_field_values` and `custom_field_operation`: its object has no place for them.
        Kind.EDIT: KindOfJob(
            Kind.EDIT,
            BulkEdit,
            "/bulk_action/edit/",
            echoed=frozenset({"custom_field_name", "custom_field_value", "lead_status_id", "type"}),
        ),
        Kind.SEQUENCE_SUBSCRIPTION: KindOfJob(
            Kind.SEQUENCE_SUBSCRIPTION,
            BulkSequenceSubscription,
            "/bulk_action/sequence_subscription/",
            echoed=frozenset(
                {
                    "action_type",
                    "calls_assigned_to",
                    "contact_preference",
                    "from_phone_number_id",
                    "sender_account_id",
                    "sender_email",
                    "sender_name",
                    "sequence_id",
                }
            ),
        ),
        # A POST goes to a path of its own for each kind of object, and which fields there are is documented nowhere.
        Kind.EXPORT: KindOfJob(
            Kind.EXPORT, Export, "/export/", echoed=frozenset(), polled=None, counters=("n_docs", "n_docs_processed")
        ),
    }
)

MAX_PAGE = 100
"""Rows that the service gives at the most for one page of bulk actions."""

PAUSE_METHOD = "PUT"
"""Unconfirmed: the vendor names the bodies that pause and resume, but neither verb nor URL. PUT on the item is how
its API changes an object elsewhere."""


@attrs.define(kw_only=True)  # not frozen: one is made for each request, and that would cost four times as much
class Request:
    """One request, before the base URL and the headers are added. `body` is JSON text.

    `only_reads` is for a request that changes nothing although it is no GET.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    only_reads: bool = False
    resource: str | None = attrs.field(default=None, eq=False)
    """The path without what names one object, where there is such a thing in it."""

    @property
    def group(self) -> str:
        """What a rate limit is shared with, as far as anybody knows: method and path, whichever object it names.

        Unconfirmed: the vendor does not publish its groups. Where several of these share one limit, the headers of the
        answers say so to each.
        """
        return f"{self.method} {self.resource or self.path}"

    @property
    def is_safe_to_repeat(self) -> bool:
        """Whether sending it twice is the same as once."""
        return self.only_reads or self.method == "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@attrs.define(kw_only=True, eq=False)  # not frozen: as Request
class Response:
    """Status, headers (case-insensitive) and body of an answer; `now` is the client's time of day when it arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    now: datetime


def build_get(ref: JobRef[Any], *, fields: Iterable[str] | None = None) -> Request:
    """Read one action."""
    return Request(
        method="GET", path=_item_path(ref), query=_fields_query(ref.kind, fields), resource=KINDS[ref.kind].path
    )


def build_list(
    kind: Kind,
    *,
    limit: int = MAX_PAGE,
    skip: int = 0,
    fields: Iterable[str] | None = None,
    filters: Mapping[str, str | None] | None = None,
) -> Request:
    """Read one page. Raises InvalidRequestError for a negative number, or a filter that the kind does not have.

    The service ignores filters that it does not know and returns everything, so they must not be sent.
    """
    given = {name: value for name, value in (filters or {}).items() if value is not None}
    if strange := given.keys() - KINDS[kind].list_filters:
        message = f"the list of {kind} actions has no filter {', '.join(sorted(strange))}"
        raise InvalidRequestError(message)
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            message = f"{name} must be a text that is not empty and is {value!r}"
            raise InvalidRequestError(message)
    query = (
        ("_limit", str(check_count(limit, name="limit", least=1))),
        ("_skip", str(check_count(skip, name="skip"))),
        *given.items(),
        *_fields_query(kind, fields),
    )
    return Request(method="GET", path=KINDS[kind].path, query=query)


def build_create(kind: Kind, body: bytes) -> Request:
    """Start an action. Not safe to repeat: the service has no idempotency key, and a second POST is a second job."""
    return Request(method="POST", path=KINDS[kind].path, body=body)


def build_set_status(ref: JobRef[Any], status: Status) -> Request:
    """Pause (`paused`) or resume (`resuming`) an action."""
    body = orjson.dumps({"status": status})
    return Request(method=PAUSE_METHOD, path=_item_path(ref), body=body, resource=KINDS[ref.kind].path)


def check_count(number: int, *, name: str, least: int = 0) -> int:
    """`number` itself. Raises InvalidRequestError where it is no integer of at least `least`."""
    if type(number) is not int or number < least:
        message = f"{name} must be an integer of at least {least} and is {number!r}"
        raise InvalidRequestError(message)
    return number


def _item_path(ref: JobRef[Any]) -> str:
    return f"{KINDS[ref.kind].path}{ref.id}/"


def _fields_query(kind: Kind, fields: Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    if fields is None:
        return ()
    if isinstance(fields, str):
        message = f"fields must be several names and is the one text {fields!r}: write [{fields!r}]"
        raise InvalidRequestError(message)
    names = dict.fromkeys((*KINDS[kind].always, *fields))  # without repetitions, in order
    if strange := [name for name in names if not isinstance(name, str) or not name.replace("_", "").isalnum()]:
        message = f"fields holds {strange[0]!r}, which is no name of a field"
        raise InvalidRequestError(message)
    return (("_fields", ",".join(names)),)


def read_action(kind: Kind, request: Request, response: Response) -> BulkAction:
    """The action of an answer. Raises the APIError of its status, or DecodeError."""
    check_status(request, response)
    try:
        action = decode(response.body, KINDS[kind].model)
        # Every read asks for both. Without an id nobody can go on, without a status nobody knows how far the job is.
        _, id_ = action.status, action.id
    except ValueError as exc:
        raise misfit(str(exc), request, response) from exc
    except FieldNotRequested as exc:
        raise misfit(f"there is no {exc.field!r}", request, response) from exc
    if not ID_PATTERN.fullmatch(id_):
        raise misfit(f"'id' holds {id_!r}, which is no id", request, response)
    return cast("BulkAction", action)


def salvage_action(kind: Kind, response: Response) -> BulkAction | None:
    """An action that knows nothing but its id, from an answer that `read_action` refused; None without a readable id.

    Whoever started a job must learn its id, even where the rest of the answer is not what the API promises.
    """
    body = parse_body(response.body)
    id_ = body.get("id") if isinstance(body, Mapping) else None
    if not isinstance(id_, str) or not ID_PATTERN.fullmatch(id_):
        return None
    return bare_action(JobRef(kind, id_))


def bare_action(ref: JobRef[Any]) -> BulkAction:
    """An action of which nothing is known but its id."""
    return cast("BulkAction", KINDS[ref.kind].model.from_dict({"id": ref.id}))


def read_page(kind: Kind, request: Request, response: Response) -> Page[Any]:
    """The page of an answer. Raises the APIError of its status, or DecodeError."""
    check_status(request, response)
    try:
        rows, has_more = decode_page(response.body, KINDS[kind].model)
        _ = [row.id for row in rows]
    except ValueError as exc:
        raise misfit(str(exc), request, response) from exc
    except FieldNotRequested as exc:
        raise misfit(f"a row has no {exc.field!r}", request, response) from exc
    if has_more and not rows:
        # Paging goes on by the number of rows seen: from here it would ask for the same page for ever.
        message = "an empty page that says there are more"
        raise misfit(message, request, response)
    return Page(rows, has_more)


_SIGNED = re.compile(r"(https?://[^\s\"'?]+\?)[^\s\"']+")
"""A link with a query, which may be all that it takes to have a file."""


def misfit(message: str, request: Request, response: Response) -> DecodeError:
    """The error for a success whose body is not what the API promises."""
    # Shortened first: in megabytes without a question mark, each beginning of a link is searched to the end.
    shown = _SIGNED.sub(r"\1***", shorten(_text(response.body), limit=10 * SHOWN_BODY_LENGTH))
    return DecodeError(message, status=response.status, request=str(request), body=shown)


def is_success(status: int) -> bool:
    """2xx."""
    return 200 <= status < 300  # noqa: PLR2004 - as everybody knows them; the enum's members compare ten times slower


def is_rejection(status: int) -> bool:
    """Whether a status proves that the server did not act: a 4xx, except that a 408 says only that it grew tired."""
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.REQUEST_TIMEOUT


def check_status(request: Request, response: Response) -> None:
    """Raise the APIError of an answer that is no success."""
    if is_success(response.status):
        return
    body = parse_body(response.body)
    errors, field_errors = read_errors(body)
    seconds = hint(response)
    raise error_of_status(response.status)(
        status=response.status,
        request=str(request),
        errors=errors,
        field_errors=field_errors,
        body=body,
        retry_after=None if seconds is None else timedelta(seconds=seconds),
    )


def hint(response: Response) -> float | None:
    """Seconds that the server asks to wait before the next request, None where it does not say."""
    is_throttled = response.status == HTTPStatus.TOO_MANY_REQUESTS
    body = parse_body(response.body) if is_throttled else None
    return retry_after(response.headers, body=body, now=response.now, is_throttled=is_throttled)


def server_time(response: Response) -> datetime | None:
    """The service's own time, in whole seconds, as the `Date` header says; None where it says none."""
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # «-0000», by which RFC 5322 means UTC too


@attrs.frozen(kw_only=True)
class Me:
    """Whose key it is.

    The user may belong to several organizations; the key belongs to one of them. `clock_skew` is how far this machine's
    clock is ahead of the service's, to about a second; None where the service does not tell its time.
    """

    user_id: str
    organization_ids: Sequence[str]
    clock_skew: timedelta | None = None


def build_me() -> Request:
    """Read whose key it is."""
    return Request(method="GET", path="/me/")


def read_me(request: Request, response: Response) -> Me:
    """The user of an answer. Raises the APIError of its status, or DecodeError."""
    check_status(request, response)
    body = parse_body(response.body)
    id_ = body.get("id") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(id_, str) or not ID_PATTERN.fullmatch(id_):
        message = "there is no 'id' that is one"
        raise misfit(message, request, response)
    rows = [row for row in as_list(body.get("organizations")) if isinstance(row, Mapping)]
    server = server_time(response)
    return Me(
        user_id=id_,
        organization_ids=[row["id"] for row in rows if isinstance(row.get("id"), str)],
        clock_skew=None if server is None else response.now - server,
    )


def _text(body: bytes) -> str:
    return body.decode(errors="replace")


def parse_body(body: bytes) -> object:
    """The JSON value of a body, or the beginning of its text where it is none."""
    try:
        return orjson.loads(body)
    except ValueError:
        return shorten(_text(body))
