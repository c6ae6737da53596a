"""The values of the API: four kinds of bulk action, pages of them, and refs. Frozen, and ignorant of HTTP.

Fields carry the service's own names; a field whose schema allows null may be None, and None is always the service's
null: what a narrowed response left out raises `FieldNotRequested` instead. Words of an enum that this package does
not know stay plain strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime  # the converter reads annotations at run time
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar, cast

import attrs

from closebulk_async.convert import NOTHING_EXTRA, JSONValue, format_datetime, to_json_value
from closebulk_async.errors import InvalidRequestError

A_co = TypeVar("A_co", bound="Job", covariant=True)


class Kind(StrEnum):
    """The four kinds of bulk action, and exports; the value is the word in the API's paths and in refs."""

    EMAIL = "email"
    DELETE = "delete"
    EDIT = "edit"
    SEQUENCE_SUBSCRIPTION = "sequence_subscription"
    EXPORT = "export"


BULK_KINDS: Sequence[Kind] = (Kind.EMAIL, Kind.DELETE, Kind.EDIT, Kind.SEQUENCE_SUBSCRIPTION)
"""The kinds of bulk action, which change leads; an export only reads them."""


class Status(StrEnum):
    """The status words of the API's schema `BulkActionStatus`."""

    CREATED = "created"
    LOADING = "loading"
    PROCESSING = "processing"
    DONE = "done"
    PAUSED = "paused"
    RESUMING = "resuming"
    ERROR = "error"


class ExportStatus(StrEnum):
    """The status words of exports."""

    CREATED = "created"
    STARTED = "started"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    ERROR = "error"


class Phase(StrEnum):
    """What a status means for somebody who waits."""

    RUNNING = "running"
    AT_REST = "at rest"
    DONE = "done"
    FAILED = "failed"


PHASE_OF_STATUS: Mapping[str | None, Phase] = MappingProxyType(
    {
        Status.CREATED: Phase.RUNNING,
        Status.LOADING: Phase.RUNNING,
        Status.PROCESSING: Phase.RUNNING,
        Status.RESUMING: Phase.RUNNING,
        ExportStatus.STARTED: Phase.RUNNING,
        ExportStatus.IN_PROGRESS: Phase.RUNNING,
        # Not final: a paused action goes on when it is resumed, for seven days.
        Status.PAUSED: Phase.AT_REST,
        Status.DONE: Phase.DONE,
        Status.ERROR: Phase.FAILED,
    }
)
"""Unconfirmed: no page of the vendor's says which words are final.

A word that is not here, or null, counts as running.
"""


def phase_of(status: str | None) -> Phase:
    """The phase of a status; unknown words and null count as running."""
    return PHASE_OF_STATUS.get(status, Phase.RUNNING)


class EditType(StrEnum):
    """What a bulk edit does (`type`). The vendor describes the first three; the others are in its schema only."""

    SET_LEAD_STATUS = "set_lead_status"
    SET_CUSTOM_FIELD = "set_custom_field"
    CLEAR_CUSTOM_FIELD = "clear_custom_field"
    SET_CONTACT_CUSTOM_FIELD = "set_contact_custom_field"
    CLEAR_CONTACT_CUSTOM_FIELD = "clear_contact_custom_field"
    SET_ACTIVITY_CUSTOM_FIELD = "set_activity_custom_field"
    CLEAR_ACTIVITY_CUSTOM_FIELD = "clear_activity_custom_field"
    SET_GLOBAL_CUSTOM_FIELD = "set_global_custom_field"
    CLEAR_GLOBAL_CUSTOM_FIELD = "clear_global_custom_field"
    SET_OPPORTUNITY_CUSTOM_FIELD = "set_opportunity_custom_field"
    CLEAR_OPPORTUNITY_CUSTOM_FIELD = "clear_opportunity_custom_field"
    SET_CUSTOM_OBJECT_CUSTOM_FIELD = "set_custom_object_custom_field"
    CLEAR_CUSTOM_OBJECT_CUSTOM_FIELD = "clear_custom_object_custom_field"


class SequenceActionType(StrEnum):
    """What a bulk sequence subscription does (`action_type`). `reassign` is in the vendor's schema only."""

    SUBSCRIBE = "subscribe"
    RESUME = "resume"
    RESUME_FINISHED = "resume_finished"
    PAUSE = "pause"
    REASSIGN = "reassign"


class ContactPreference(StrEnum):
    """Which addresses of a lead are written to. `all` is in the schema of emails only, and described nowhere."""

    LEAD = "lead"
    CONTACT = "contact"
    ALL = "all"


class BulkObjectType(StrEnum):
    """What a bulk delete deletes."""

    LEAD = "lead"
    CONTACT = "contact"
    CALL = "call"
    CUSTOM_ACTIVITY = "custom_activity"
    FORM_SUBMISSION = "form_submission"


class CustomFieldOperation(StrEnum):
    """How values meet a custom field that holds several."""

    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


ID_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
"""What an id is made of. Prefixes are not checked: those of two kinds are documented nowhere."""


def check_id(id: str) -> str:
    """`id` itself where it can stand in a path. Raises InvalidRequestError."""
    if not isinstance(id, str) or not ID_PATTERN.fullmatch(id):
        message = f"{id!r} is no id of an action: expected letters, digits, '_' and '-', as in 'bulkemail_qmjJY85TS'"
        raise InvalidRequestError(message)
    return id


def parse_kind(word: str) -> Kind:
    """The kind that a word names. Raises InvalidRequestError."""
    if type(word) is Kind:
        return word
    try:
        return Kind(word)
    except ValueError:
        message = f"{word!r} is no kind of job: expected one of {', '.join(Kind)}"
        raise InvalidRequestError(message) from None


def parse_kinds(kinds: Iterable[Kind | str] | None, *, default: Sequence[Kind] = BULK_KINDS) -> Sequence[Kind]:
    """The kinds that words name, each once; None stands for `default`. Raises InvalidRequestError."""
    if isinstance(kinds, str):
        message = f"kinds must be several and is the one text {kinds!r}: write [{kinds!r}]"
        raise InvalidRequestError(message)
    return list(default if kinds is None else dict.fromkeys(map(parse_kind, kinds)))


def parse_bulk_kinds(kinds: Iterable[Kind | str] | None) -> Sequence[Kind]:
    """As `parse_kinds`, and exports are refused."""
    found = parse_kinds(kinds)
    if Kind.EXPORT in found:
        message = f"an export is no bulk action: expected some of {', '.join(BULK_KINDS)}"
        raise InvalidRequestError(message)
    return found


@attrs.frozen
class JobRef(Generic[A_co]):
    """Kind and id of an action or an export: all that another process needs to go on with it.

    As text, `email:bulkemail_…`:

    >>> ref = JobRef.parse("email:bulkemail_qmjJY85TS")
    >>> ref.kind, ref.id
    (<Kind.EMAIL: 'email'>, 'bulkemail_qmjJY85TS')
    >>> str(ref)
    'email:bulkemail_qmjJY85TS'
    """

    kind: Kind = attrs.field(converter=parse_kind)
    id: str = attrs.field(converter=check_id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> JobRef[BulkAction]:
        """The ref that `str(ref)` wrote. Raises InvalidRequestError."""
        kind, colon, id_ = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not colon:
            message = f"{text!r} is no ref: expected KIND:ID, as in 'email:bulkemail_qmjJY85TS'"
            raise InvalidRequestError(message)
        return cast("JobRef[BulkAction]", cls(kind, id_))


@attrs.frozen
class Page(Generic[A_co]):
    """One page of a list: its rows, and whether the service has more behind them."""

    data: Sequence[A_co]
    has_more: bool


_EXAMPLE_MOMENT = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Job(JSONValue):
    """What is the same of all that the service works on for a while."""

    kind: ClassVar[Kind]
    _example: ClassVar[Mapping[str, Any]]

    id: str
    status: str | None
    extra: Mapping[str, Any] = NOTHING_EXTRA

    @property
    def ref(self) -> JobRef[Self]:  # type: ignore[type-var]  # Self is one of the classes of `Job`: this one has no others
        """Kind and id, as a value that can be stored."""
        return JobRef(self.kind, self.id)

    @property
    def phase(self) -> Phase:
        """What the status means for somebody who waits."""
        return phase_of(self.status)

    @property
    def is_done(self) -> bool:
        """It has ended as it should."""
        return self.phase is Phase.DONE

    @property
    def is_failed(self) -> bool:
        """It has ended with the status `error`."""
        return self.phase is Phase.FAILED

    @property
    def is_paused(self) -> bool:
        """It rests until somebody resumes it."""
        return self.phase is Phase.AT_REST

    @property
    def is_final(self) -> bool:
        """It has ended, well or not."""
        return self.is_done or self.is_failed

    def __hash__(self) -> int:
        return hash((self.kind, self.id))

    @classmethod
    def example(cls, **changes: Any) -> Self:
        """A plausible one for tests; `changes` are fields as the API's JSON or as the attributes spell them."""
        plain = {name: to_json_value(value) for name, value in changes.items()}
        return cls.from_dict({**cls._example, **plain})


@attrs.frozen(kw_only=True, eq=False, repr=False, init=False)  # what no one makes needs none of it
class _ActionFields(_Job):
    """The fields that all four kinds of bulk action share, in the order of the schema."""

    id: str
    organization_id: str
    created_by: str | None
    updated_by: str | None
    date_created: datetime | None
    date_updated: datetime | None
    n_leads: int | None
    n_leads_processed: int
    n_objects: int | None
    n_objects_processed: int
    query: str | None
    s_query: dict[str, Any]
    sort: list[dict[str, Any]]
    results_limit: int | None
    send_done_email: bool
    status: Status | str | None
    extra: Mapping[str, Any] = NOTHING_EXTRA

    @classmethod
    def example(cls, **changes: Any) -> Self:
        """A plausible action for tests; `changes` are fields as the API's JSON or as the attributes spell them."""
        return super().example(**{**_COMMON_EXAMPLE, "id": f"bulk{cls.kind}_example", **cls._example, **changes})


_COMMON_EXAMPLE: Mapping[str, Any] = {
    "organization_id": "orga_example",
    "created_by": "user_example",
    "updated_by": "user_example",
    "date_created": format_datetime(_EXAMPLE_MOMENT),
    "date_updated": format_datetime(_EXAMPLE_MOMENT),
    "n_leads": 100,
    "n_leads_processed": 40,
    "n_objects": 100,
    "n_objects_processed": 40,
    "query": None,
    "s_query": {"type": "id", "value": "lead_example"},
    "sort": [],
    "results_limit": None,
    "send_done_email": False,
    "status": "processing",
}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkEmail(_ActionFields):
    """A template that is sent to every lead that a query matches."""

    kind = Kind.EMAIL
    _example = MappingProxyType(
        {
            "contact_preference": "lead",
            "email_account_id": "emailacct_example",
            "sender": "sender@example.com",
            "template_id": "tmpl_example",
        }
    )

    contact_preference: ContactPreference | str | None
    email_account_id: str | None
    sender: str | None
    template_id: str | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkDelete(_ActionFields):
    """A deletion of every object that a query matches."""

    kind = Kind.DELETE
    _example = MappingProxyType({"bulk_object_type": "lead"})

    bulk_object_type: BulkObjectType | str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkEdit(_ActionFields):
    """One change to every object that a query matches.

    The service echoes neither `custom_field_id` nor `custom_field_values` nor `custom_field_operation`.
    """

    kind = Kind.EDIT
    _example = MappingProxyType(
        {
            "type": "set_lead_status",
            "custom_field_name": None,
            "custom_field_value": None,
            "lead_status_id": "stat_example",
        }
    )

    type: EditType | str
    custom_field_name: str | None
    custom_field_value: Any
    lead_status_id: str | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BulkSequenceSubscription(_ActionFields):
    """Subscriptions to a sequence that are made, paused or resumed. Older rows may lack some of the fields."""

    kind = Kind.SEQUENCE_SUBSCRIPTION
    _example = MappingProxyType(
        {
            "action_type": "subscribe",
            "calls_assigned_to": None,
            "contact_preference": "lead",
            "from_phone_number_id": None,
            "sender_account_id": "emailacct_example",
            "sender_email": "sender@example.com",
            "sender_name": "Sender",
            "sequence_id": "seq_example",
        }
    )

    action_type: SequenceActionType | str
    calls_assigned_to: list[str] | None
    contact_preference: ContactPreference | str | None
    from_phone_number_id: str | None
    sender_account_id: str | None
    sender_email: str | None
    sender_name: str | None
    sequence_id: str | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Export(_Job):
    """Leads or opportunities that the service writes into a file.

    The vendor documents `id`, `status` and `download_url` (an address without a key, set once it is done; how long it
    lives is documented nowhere). The other fields were seen or are plausible, and may be missing.
    """

    kind = Kind.EXPORT
    _example = MappingProxyType(
        {
            "id": "expo_example",
            "status": "in_progress",
            "download_url": None,
            "date_created": format_datetime(_EXAMPLE_MOMENT),
            "date_updated": format_datetime(_EXAMPLE_MOMENT),
            "n_docs": 100,
            "n_docs_processed": 40,
        }
    )

    status: ExportStatus | str | None
    download_url: str | None
    date_created: datetime | None
    date_updated: datetime | None
    n_docs: int | None
    n_docs_processed: int | None

    def __repr__(self) -> str:
        # Whoever has what the link is signed with has the file; `to_dict()` shows it all the same.
        link = getattr(self, "download_url", None) or ""
        path, mark, query = link.partition("?")
        return super().__repr__().replace(link, f"{path}?***") if mark and query else super().__repr__()


BulkAction: TypeAlias = BulkEmail | BulkDelete | BulkEdit | BulkSequenceSubscription
Job: TypeAlias = BulkAction | Export
"""What can be waited for."""
MODEL_OF_KIND: Mapping[Kind, type[Job]] = MappingProxyType(
    {model.kind: model for model in (BulkEmail, BulkDelete, BulkEdit, BulkSequenceSubscription, Export)}
)
A = TypeVar("A", bound=BulkAction)
