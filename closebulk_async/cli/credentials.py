"""Who the command is to Close: the profile that was typed, the key of the environment, or another profile."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from closebulk_async.auth import ApiKey, Auth
from closebulk_async.cli.calls import current
from closebulk_async.cli.profiles import DEFAULT, Login, Profile, Profiles, base_url_of_environment, chosen_profile
from closebulk_async.errors import InvalidRequestError
from closebulk_async.oauth import OAuth
from closebulk_async.oauth_wire import OAuthToken


@attrs.frozen(kw_only=True)
class Credentials:
    """Where they come from, as the subject of a sentence, and what they are.

    Without an `auth` the client reads CLOSE_API_KEY, and misses it where it is not set.
    """

    origin: str
    base_url: str
    auth: Auth | None = attrs.field(default=None, repr=False)


def find_credentials() -> Credentials:
    """--profile goes first, then CLOSE_API_KEY, then CLOSEBULK_PROFILE, then the profile `default`.

    Raises InvalidRequestError where a profile was asked for by name and there is none, or it is of another base URL
    than CLOSE_BASE_URL, which then is not what it seems to be; --profile alone outweighs that.
    """
    typed = current().profile
    if typed is None and os.environ.get("CLOSE_API_KEY", "").strip():
        return Credentials(origin="CLOSE_API_KEY", base_url=base_url_of_environment())
    name = chosen_profile()
    is_wanted = typed is not None or bool(os.environ.get("CLOSEBULK_PROFILE"))
    try:
        profiles = Profiles()
    except InvalidRequestError:  # who has no extra has never logged in
        if is_wanted:
            raise
        return Credentials(origin="CLOSE_API_KEY", base_url=base_url_of_environment())
    profile = profiles.find(name)
    if profile is None:
        if is_wanted:
            raise InvalidRequestError(describe_missing(name))
        return Credentials(origin="CLOSE_API_KEY", base_url=base_url_of_environment())
    if typed is None and os.environ.get("CLOSE_BASE_URL") and base_url_of_environment() != profile.base_url:
        raise InvalidRequestError(
            f"the profile {name!r} is of {profile.base_url}, and CLOSE_BASE_URL says {base_url_of_environment()}: "
            f"unset it, or say --profile {name}"
        )
    auth = profile.holds if isinstance(profile.holds, ApiKey) else _log_in(profiles, name, profile, profile.holds)
    current().redactors.append(auth.redact)
    return Credentials(origin=f"the {profile.what} of the profile {name!r}", base_url=profile.base_url, auth=auth)


def describe_missing(name: str) -> str:
    """That there is no such profile, and how one is made."""
    option = "" if name == DEFAULT else f" --profile {name}"
    return f"there is no profile {name!r}: closebulk login{option}, with --api-key to keep a key"


def _log_in(profiles: Profiles, name: str, profile: Profile, login: Login) -> OAuth:
    """New tokens go back to the profile, and commands that run at one time refresh one after the other."""

    def find() -> OAuthToken | None:
        found = profiles.find(name)
        newest = None if found is None else found.holds
        return newest.token if isinstance(newest, Login) and newest.client_id == login.client_id else None

    async def keep(token: OAuthToken) -> None:
        renewed = attrs.evolve(profile, holds=attrs.evolve(login, token=token))
        await asyncio.to_thread(profiles.keep, name, renewed)

    @asynccontextmanager
    async def guard() -> AsyncGenerator[OAuthToken | None, None]:
        from filelock import AsyncFileLock

        async with AsyncFileLock(_lock_file(f"{profile.base_url} {name} {login.client_id}"), mode=0o600):
            yield await asyncio.to_thread(find)

    return OAuth(
        login.client_id,
        login.client_secret,
        login.token.refresh_token or "",
        access_token=login.token.access_token,
        expires_at=login.token.expires_at,
        on_token=keep,
        guard=guard,
    )


def _lock_file(name: str) -> Path:
    """In a folder of the user's own: in one that all may write to, somebody else could hold it."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "closebulk"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
