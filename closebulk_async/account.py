"""Whose key it is: read once, when somebody first asks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from closebulk_async.errors import StartError
from closebulk_async.models import BULK_KINDS
from closebulk_async.wire import Me, build_list, build_me, read_me, read_page

if TYPE_CHECKING:
    from closebulk_async.transport import Transport


class Account:
    """The user and the organization of a client's key."""

    def __init__(self, transport: Transport, *, tells_organizations: bool) -> None:
        """Read nothing yet. `tells_organizations`: whether scopes are to hold the organization."""
        self._transport = transport
        self._tells_organizations = tells_organizations
        self._lock = asyncio.Lock()
        self._me: Me | None = None
        self._scope: str | None = None

    async def user_id(self) -> str:
        """The user whose key it is; the service names it in `created_by`."""
        async with self._lock:
            return (await self._read_me()).user_id

    @property
    def known_user_id(self) -> str | None:
        """The same, if it was read already."""
        return None if self._me is None else self._me.user_id

    async def scope(self) -> str:
        """What intents and keys are scoped by: the base URL and, where others may share the journal, the organization.

        Raises StartError where the organization cannot be told.
        """
        if not self._tells_organizations:
            return self._transport.base_url
        async with self._lock:
            if self._scope is None:
                me = await self._read_me()
                only = me.organization_ids[0] if len(me.organization_ids) == 1 else await self._organization_of_lists()
                self._scope = f"{self._transport.base_url} {only}"
            return self._scope

    async def _read_me(self) -> Me:
        if self._me is None:
            self._me = await self._transport.read(build_me(), read_me)
        return self._me

    async def _organization_of_lists(self) -> str:
        """Keys belong to one organization, which `/me/` does not name among several; every action names it."""
        for kind in BULK_KINDS:
            request = build_list(kind, limit=1, fields=["organization_id"])
            page = await self._transport.read(request, partial(read_page, kind))
            for row in page.data:
                return str(row.organization_id)
        message = (
            "the user of this key belongs to several organizations, and none has a bulk action that would tell which "
            "one is meant: start the first one without a journal, or in the app"
        )
        raise StartError(message)
