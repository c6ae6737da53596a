"""The four endpoints with the typed keywords of their `create` and `preview`.

Each `create` raises, before any request, InvalidRequestError for keywords that do not go together and UnsafeQueryError
for a query that cannot exclude a lead, and, before the POST, TooManyMatchesError for more leads than `max_matches`.
After the POST it raises the APIError of a rejection, TransportError where it was not sent, and AmbiguousStartError
where nobody can tell whether it started a job. Each `preview` takes the same keywords and starts nothing.

The overloads say which keywords a type needs. A type that is held in a variable is an `EditType` or a
`SequenceActionType`: with it, the keywords are checked at run time only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, Unpack, overload

from closebulk_async.endpoints import BulkActions, derive_preview
from closebulk_async.models import (
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkObjectType,
    BulkSequenceSubscription,
    ContactPreference,
    CustomFieldOperation,
    EditType,
    Kind,
    Page,
    SequenceActionType,
)
from closebulk_async.starts import DeleteStart, EditStart, EmailStart, SequenceStart
from closebulk_async.wire import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from closebulk_async.operations import StartKeywords
    from closebulk_async.starts import Start

SetCustomField: TypeAlias = Literal[
    "set_custom_field",
    "set_contact_custom_field",
    "set_activity_custom_field",
    "set_global_custom_field",
    "set_opportunity_custom_field",
    "set_custom_object_custom_field",
]
ClearCustomField: TypeAlias = Literal[
    "clear_custom_field",
    "clear_contact_custom_field",
    "clear_activity_custom_field",
    "clear_global_custom_field",
    "clear_opportunity_custom_field",
    "clear_custom_object_custom_field",
]
LeadOrContact: TypeAlias = Literal["lead", "contact", ContactPreference.LEAD, ContactPreference.CONTACT]
Operation: TypeAlias = CustomFieldOperation | Literal["replace", "add", "remove"]


class BulkEmails(BulkActions[BulkEmail]):
    """Bulk emails."""

    kind = Kind.EMAIL
    start_class: ClassVar[type[Start]] = EmailStart

    async def create(
        self,
        *,
        template_id: str,
        email_account_id: str,
        sender: str | None = None,
        contact_preference: ContactPreference | Literal["lead", "contact", "all"] | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEmail:
        """Send a template to every lead that a query matches.

        `sender` is a bare address. `contact_preference`: `lead` writes to the first contact of a lead, `contact` to the
        first address of each; `all` is in the vendor's schema and described nowhere. An old help page caps a batch at
        100,000 leads; sending limits can stretch it over days.
        """
        own = {
            "template_id": template_id,
            "email_account_id": email_account_id,
            "sender": sender,
            "contact_preference": contact_preference,
        }
        return await self._create({**own, **common})

    preview: Final = derive_preview(create)

    async def list(
        self,
        *,
        limit: int = MAX_PAGE,
        skip: int = 0,
        fields: Iterable[str] | None = None,
        template_id: str | None = None,
    ) -> Page[BulkEmail]:
        """One page, in the service's order; `template_id` keeps the emails of one template."""
        return await self._page(limit=limit, skip=skip, fields=fields, filters={"template_id": template_id})

    def iterate(
        self,
        *,
        fields: Iterable[str] | None = None,
        page_size: int = MAX_PAGE,
        max_items: int | None = None,
        template_id: str | None = None,
    ) -> AsyncIterator[BulkEmail]:
        """Every bulk email once, or those of one template, page by page."""
        return self._rows(fields=fields, page_size=page_size, max_items=max_items, filters={"template_id": template_id})


class BulkDeletes(BulkActions[BulkDelete]):
    """Bulk deletes."""

    kind = Kind.DELETE
    start_class: ClassVar[type[Start]] = DeleteStart

    async def create(
        self,
        *,
        bulk_object_type: BulkObjectType
        | Literal["lead", "contact", "call", "custom_activity", "form_submission"]
        | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkDelete:
        """Delete every object that a query matches.

        Whether the service takes `bulk_object_type` in this request is unconfirmed; left out, it deletes leads.
        """
        return await self._create({"bulk_object_type": bulk_object_type, **common})

    preview: Final = derive_preview(create)


class BulkEdits(BulkActions[BulkEdit]):
    """Bulk edits."""

    kind = Kind.EDIT
    start_class: ClassVar[type[Start]] = EditStart

    @overload
    async def create(
        self,
        *,
        type: Literal["set_lead_status", EditType.SET_LEAD_STATUS],
        lead_status_id: str,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    @overload
    async def create(
        self, *, type: ClearCustomField, custom_field_id: str, **common: Unpack[StartKeywords]
    ) -> BulkEdit: ...

    @overload
    async def create(
        self, *, type: ClearCustomField, custom_field_name: str, **common: Unpack[StartKeywords]
    ) -> BulkEdit: ...

    @overload
    async def create(
        self,
        *,
        type: SetCustomField,
        custom_field_id: str,
        custom_field_value: Any,
        custom_field_operation: Operation | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    @overload
    async def create(
        self,
        *,
        type: SetCustomField,
        custom_field_id: str,
        custom_field_values: Sequence[Any],
        custom_field_operation: Operation | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    @overload
    async def create(
        self,
        *,
        type: SetCustomField,
        custom_field_name: str,
        custom_field_value: Any,
        custom_field_operation: Operation | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    @overload
    async def create(
        self,
        *,
        type: SetCustomField,
        custom_field_name: str,
        custom_field_values: Sequence[Any],
        custom_field_operation: Operation | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    @overload
    async def create(
        self,
        *,
        type: EditType,
        lead_status_id: str | None = None,
        custom_field_id: str | None = None,
        custom_field_name: str | None = None,
        custom_field_value: Any = None,
        custom_field_values: Sequence[Any] | None = None,
        custom_field_operation: Operation | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkEdit: ...

    async def create(self, **keywords: Any) -> BulkEdit:
        """Change every object that a query matches.

        `type` decides what else is needed: `set_lead_status` a `lead_status_id`; `clear_…` a `custom_field_id` or a
        `custom_field_name`; `set_…` one of these and a `custom_field_value`, or `custom_field_values` for a field that
        holds several, with `custom_field_operation` `replace` (the service's default), `add` or `remove`. What the
        types for contacts, activities, opportunities, global fields and custom objects take is unconfirmed.
        """
        return await self._create(keywords)

    preview: Final = derive_preview(create)


class BulkSequenceSubscriptions(BulkActions[BulkSequenceSubscription]):
    """Bulk sequence subscriptions."""

    kind = Kind.SEQUENCE_SUBSCRIPTION
    start_class: ClassVar[type[Start]] = SequenceStart

    @overload
    async def create(
        self,
        *,
        action_type: Literal["subscribe", SequenceActionType.SUBSCRIBE],
        sequence_id: str,
        sender_account_id: str,
        sender_name: str,
        sender_email: str,
        contact_preference: LeadOrContact,
        calls_assigned_to: Sequence[str] | None = None,
        from_phone_number_id: str | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkSequenceSubscription: ...

    @overload
    async def create(
        self,
        *,
        action_type: Literal["resume", "resume_finished", "pause"],
        sequence_id: str,
        **common: Unpack[StartKeywords],
    ) -> BulkSequenceSubscription: ...

    @overload
    async def create(
        self,
        *,
        action_type: Literal["resume", "resume_finished", "pause"],
        all_sequences: Literal[True],
        **common: Unpack[StartKeywords],
    ) -> BulkSequenceSubscription: ...

    @overload
    async def create(
        self,
        *,
        action_type: Literal["reassign"],
        sequence_id: str | None = None,
        all_sequences: bool = False,
        sender_account_id: str | None = None,
        sender_name: str | None = None,
        sender_email: str | None = None,
        calls_assigned_to: Sequence[str] | None = None,
        from_phone_number_id: str | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkSequenceSubscription: ...

    @overload
    async def create(
        self,
        *,
        action_type: SequenceActionType,
        sequence_id: str | None = None,
        all_sequences: bool = False,
        sender_account_id: str | None = None,
        sender_name: str | None = None,
        sender_email: str | None = None,
        contact_preference: LeadOrContact | None = None,
        calls_assigned_to: Sequence[str] | None = None,
        from_phone_number_id: str | None = None,
        **common: Unpack[StartKeywords],
    ) -> BulkSequenceSubscription: ...

    async def create(self, **keywords: Any) -> BulkSequenceSubscription:
        """Subscribe the contacts of every lead that a query matches, or pause, resume or reassign their subscriptions.

        `subscribe` reaches contacts that have never received the sequence. The others act on one sequence, or on every
        one with `all_sequences=True`, which `allow_all` does not imply. What `reassign` takes is unconfirmed.
        """
        return await self._create(keywords)

    preview: Final = derive_preview(create)
