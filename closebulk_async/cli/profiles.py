"""Profiles: API keys and logins by name, in the keyring of whoever uses the command."""

from __future__ import annotations

import os
import re
from typing import Any

import attrs
import orjson

from closebulk_async.auth import ApiKey
from closebulk_async.cli.calls import current
from closebulk_async.errors import CloseBulkError, InvalidRequestError
from closebulk_async.oauth_wire import BASE_URL, OAuthToken
from closebulk_async.settings import check_base_url

SERVICE = "closebulk_async"
"""What the keyring has all profiles under."""

DEFAULT = "default"

MISSING = "this needs the extra 'login': pip install 'closebulk-async[login]'"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyringError(CloseBulkError):
    """The keyring cannot be used. The message says why."""


@attrs.frozen(repr=False)
class Login:
    """An OAuth app, and the newest token of the grant that a user gave it."""

    client_id: str
    client_secret: str
    token: OAuthToken


@attrs.frozen(repr=False)
class Profile:
    """Who somebody is at Close, and at which base URL: a key is never sent to another one."""

    base_url: str
    holds: ApiKey | Login

    @property
    def what(self) -> str:
        """The word for what it holds."""
        return "API key" if isinstance(self.holds, ApiKey) else "login"


def base_url_of_environment() -> str:
    """Where requests go that no profile sends elsewhere."""
    return check_base_url(os.environ.get("CLOSE_BASE_URL") or BASE_URL)


def chosen_profile() -> str:
    """The name of the profile that is meant, whether there is one or not. Raises InvalidRequestError."""
    if (typed := current().profile) is not None:
        return _check_name(typed, source="--profile")
    return _check_name(os.environ.get("CLOSEBULK_PROFILE") or DEFAULT, source="CLOSEBULK_PROFILE")


def _check_name(name: str, *, source: str) -> str:
    # So that it needs no quotes in the commands that are shown.
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"{source} must be letters, digits and . _ - (64 at most), and is {name!r}")
    return name


class Profiles:
    """All profiles. Every method blocks, and may raise KeyringError."""

    def __init__(self) -> None:
        """Raise InvalidRequestError where the extra is missing."""
        try:
            import keyring
        except ModuleNotFoundError as exc:
            if exc.name != "keyring":
                raise
            raise InvalidRequestError(MISSING) from None
        self._keyring = keyring

    def check(self) -> None:
        """Raise KeyringError where nothing could be kept, before anybody logs in."""
        try:
            self._keyring.get_password(SERVICE, DEFAULT)
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"there is no keyring that could keep a login: {exc}") from exc

    def find(self, name: str) -> Profile | None:
        """The profile of that name; None where there is none, or no keyring at all."""
        try:
            text = self._keyring.get_password(SERVICE, name)
        except self._keyring.errors.NoKeyringError:
            return None
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"the keyring cannot be read: {exc}") from exc
        return None if text is None else _read(text)

    def keep(self, name: str, profile: Profile) -> None:
        """Keep it in place of an earlier one of that name."""
        try:
            self._keyring.set_password(SERVICE, name, orjson.dumps(_spell(profile)).decode())
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"the keyring cannot be written: {exc}") from exc

    def forget(self, name: str) -> None:
        """Delete the profile of that name."""
        try:
            self._keyring.delete_password(SERVICE, name)
        except self._keyring.errors.KeyringError as exc:
            raise KeyringError(f"the profile cannot be deleted from the keyring: {exc}") from exc


def _spell(profile: Profile) -> dict[str, Any]:
    if isinstance(profile.holds, ApiKey):
        return {"base_url": profile.base_url, "api_key": profile.holds.key}
    login = profile.holds
    return {
        "base_url": profile.base_url,
        "client_id": login.client_id,
        "client_secret": login.client_secret,
        "token": login.token.to_dict(),
    }


def _read(text: str) -> Profile | None:
    """None for what an older or a newer version has written."""
    try:
        kept: Any = orjson.loads(text)
        base_url = check_base_url(kept["base_url"])
        if "api_key" in kept:
            return Profile(base_url, ApiKey(kept["api_key"]))
        token = OAuthToken.from_dict(kept["token"])
        if not token.refresh_token:
            return None
        return Profile(base_url, Login(str(kept["client_id"]), str(kept["client_secret"]), token))
    except (InvalidRequestError, AttributeError, KeyError, TypeError, ValueError):
        return None
