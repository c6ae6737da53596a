"""The login that is kept in the keyring of whoever uses the command."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson

from closebulk_async.errors import CloseBulkError, InvalidRequestError
from closebulk_async.oauth import OAuth
from closebulk_async.oauth_wire import BASE_URL, OAuthToken
from closebulk_async.settings import check_base_url

LATEST = "latest"
"""Under this name stands the client id of the latest login: a keyring cannot be asked what it holds."""

MISSING = "this needs the extra 'login': pip install 'closebulk-async[login]'"


class KeyringError(CloseBulkError):
    """The keyring cannot be used. The message says why."""


def base_url_of_environment() -> str:
    """Where the command's requests go."""
    return check_base_url(os.environ.get("CLOSE_BASE_URL") or BASE_URL)


@attrs.frozen(repr=False)
class Login:
    """An app, and the newest token of the grant that a user gave it."""

    client_id: str
    client_secret: str
    token: OAuthToken


class Logins:
    """The logins at one base URL, by client id. Every method blocks, and may raise KeyringError."""

    def __init__(self, base_url: str) -> None:
        """Raise InvalidRequestError where the extra is missing."""
        try:
            import keyring
        except ModuleNotFoundError as exc:
            if exc.name != "keyring":
                raise
            raise InvalidRequestError(MISSING) from None
        self._keyring = keyring
        self._service = f"closebulk_async {base_url}"

    def check(self) -> None:
        """Raise KeyringError where nothing could be kept, before anybody logs in."""
        try:
            self._keyring.get_password(self._service, LATEST)
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"there is no keyring that could keep a login: {exc}") from exc

    def find(self, client_id: str | None = None) -> Login | None:
        """The login of that app, or the latest; None where there is none, or no keyring at all."""
        try:
            client_id = client_id or self._keyring.get_password(self._service, LATEST)
            text = None if client_id is None else self._keyring.get_password(self._service, client_id)
        except self._keyring.errors.NoKeyringError:
            return None
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"the keyring cannot be read: {exc}") from exc
        return None if client_id is None or text is None else _read(client_id, text)

    def keep(self, login: Login) -> None:
        """Keep it in place of an earlier one of its app, and make it the latest."""
        kept = {"client_secret": login.client_secret, "token": login.token.to_dict()}
        try:
            self._keyring.set_password(self._service, login.client_id, orjson.dumps(kept).decode())
            self._keyring.set_password(self._service, LATEST, login.client_id)
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"the keyring cannot be written: {exc}") from exc

    def forget(self, client_id: str) -> None:
        """Delete the login of that app."""
        for name in (client_id, LATEST):
            try:
                if name is not LATEST or self._keyring.get_password(self._service, LATEST) == client_id:
                    self._keyring.delete_password(self._service, name)
            except self._keyring.errors.KeyringError as exc:
                raise KeyringError(f"the login cannot be deleted from the keyring: {exc}") from exc


def _read(client_id: str, text: str) -> Login | None:
    """None for what an older or a newer version has written."""
    try:
        kept: Any = orjson.loads(text)
        return Login(client_id, str(kept["client_secret"]), OAuthToken.from_dict(kept["token"]))
    except (InvalidRequestError, KeyError, TypeError, ValueError):
        return None


def find_auth() -> OAuth | None:
    """Who the stored login is: that of CLOSE_CLIENT_ID if it is set, else the latest. None where there is none.

    New tokens go back to the keyring, and commands that run at one time refresh one after the other.
    """
    base_url = base_url_of_environment()
    try:
        logins = Logins(base_url)
    except InvalidRequestError:  # who has no extra has never logged in
        return None
    login = logins.find(os.environ.get("CLOSE_CLIENT_ID") or None)
    if login is None or login.token.refresh_token is None:
        return None
    client_id, client_secret = login.client_id, login.client_secret

    async def keep(token: OAuthToken) -> None:
        await asyncio.to_thread(logins.keep, Login(client_id, client_secret, token))

    @asynccontextmanager
    async def guard() -> AsyncGenerator[OAuthToken | None, None]:
        from filelock import AsyncFileLock

        async with AsyncFileLock(_lock_file(base_url, client_id), mode=0o600):
            newest = await asyncio.to_thread(logins.find, client_id)
            yield None if newest is None else newest.token

    return OAuth(
        client_id,
        client_secret,
        login.token.refresh_token,
        access_token=login.token.access_token,
        expires_at=login.token.expires_at,
        on_token=keep,
        guard=guard,
    )


def _lock_file(base_url: str, client_id: str) -> Path:
    """In a folder of the user's own: in one that all may write to, somebody else could hold it."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "closebulk"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(f'{base_url} {client_id}'.encode()).hexdigest()[:16]}.lock"
