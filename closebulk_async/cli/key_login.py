"""How an API key gets into the keyring: typed, tried, kept."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys

from closebulk_async.auth import ApiKey
from closebulk_async.cli.calls import current
from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.profiles import Profile, Profiles, base_url_of_environment, chosen_profile
from closebulk_async.cli.views import print_json
from closebulk_async.client import CloseBulk
from closebulk_async.errors import InvalidRequestError


def keep_key(*, as_json: bool) -> ExitCode:
    """Ask for a key, try it, and keep it. Raises CloseBulkError, with nothing kept."""
    name, base_url = chosen_profile(), base_url_of_environment()
    profiles = Profiles()
    profiles.check()
    key = _read_key()
    user_id = asyncio.run(_try(key, base_url))
    profiles.keep(name, Profile(base_url, key))
    tell_kept(name, Profile(base_url, key), user_id=user_id, as_json=as_json)
    return ExitCode.DONE


def tell_kept(name: str, profile: Profile, *, user_id: str | None, as_json: bool) -> None:
    """Say what was kept, and when it is not what commands use."""
    complain(f"logged in at {profile.base_url} as {user_id or 'somebody'}; kept as the profile {name!r}")
    if os.environ.get("CLOSE_API_KEY", "").strip():
        complain(f"CLOSE_API_KEY is set and goes before it: unset it, or say --profile {name}")
    if as_json:
        print_json({"profile": name, "holds": profile.what, "base_url": profile.base_url, "user_id": user_id})


def _read_key() -> ApiKey:
    if sys.stdin is not None and sys.stdin.isatty():
        typed = getpass.getpass("API key (not shown): ", stream=sys.stderr).strip()
    else:
        typed = "" if sys.stdin is None else sys.stdin.readline().strip()
    if not typed:
        raise InvalidRequestError("no API key was given: type it, or send it through standard input")
    current().hide(typed)
    try:
        return ApiKey(typed)
    except InvalidRequestError as exc:
        raise InvalidRequestError(f"what was given is no key: {exc}") from None


async def _try(key: ApiKey, base_url: str) -> str:
    async with CloseBulk(auth=key, base_url=base_url) as close:
        return (await close.me()).user_id
