"""OAuth: the way from a code to a client whose token renews itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, assert_type

from closebulk_async import Auth, CloseBulk, OAuth, OAuthToken, authorize_url, exchange_code, revoke_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def keep(token: OAuthToken) -> None:
    """Where a new token goes, at once ..."""


async def keep_slowly(token: OAuthToken) -> None:
    """... or awaited."""


def keep_text(token: str) -> None:
    """Takes no token."""


@asynccontextmanager
async def alone() -> AsyncGenerator[OAuthToken | None]:
    """One process at a time renews."""
    yield None


async def log_in(code: str) -> CloseBulk:
    """A token has what the service says of it."""
    assert_type(authorize_url("client", state="s", redirect_uri="https://example.com/"), str)
    token = await exchange_code(code, client_id="client", client_secret="secret")
    assert_type(token, OAuthToken)
    assert_type(token.refresh_token, str | None)
    assert_type(token.expires_at, datetime | None)
    await revoke_token("refresh", client_id="client", client_secret="secret")
    auth = OAuth("client", "secret", "refresh", on_token=keep_slowly, guard=alone)
    assert_type(auth.token, OAuthToken | None)
    taken: Auth = auth
    OAuth("client", "secret", "refresh", on_token=keep)
    OAuth("client", "secret", "refresh", on_token=keep_text)  # type: ignore[arg-type]
    OAuth("client", "secret", token)  # type: ignore[arg-type]
    authorize_url("client")  # type: ignore[call-arg]
    await exchange_code(code)  # type: ignore[call-arg]
    return CloseBulk(auth=taken)
