"""What stays the same from request to request: where to, as whom, how patiently, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import math
import os
from os import PathLike
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from closebulk_async.auth import ApiKey, Auth, RenewableAuth
from closebulk_async.clock import Clock
from closebulk_async.errors import AuthenticationError, InvalidRequestError
from closebulk_async.journal import Journal, MemoryJournal
from closebulk_async.policy import RetryPolicy, Timeouts
from closebulk_async.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import aiohttp

    from closebulk_async.limiter import Limiter
    from closebulk_async.telemetry import Hook


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a client that its requests need."""

    base_url: str
    auth: Auth
    timeouts: Timeouts
    retry: RetryPolicy
    clock: Clock
    tz_offset: float | None = None
    user_agent: str | None = None

    @property
    def renewable(self) -> RenewableAuth | None:
        """The auth, where its header changes."""
        return self.auth if isinstance(self.auth, RenewableAuth) else None

    def headers(self) -> dict[str, str]:
        """The headers of every request; that of an auth whose header changes is added to each."""
        headers = {"Accept": "application/json", "User-Agent": self.user_agent or f"closebulk-async/{__version__}"}
        if self.renewable is None:
            headers["Authorization"] = self.auth.header()
        if self.tz_offset is not None:  # 0 is a legal offset
            headers["x-tz-offset"] = f"{self.tz_offset:g}"
        return headers


def check_base_url(url: str, *, name: str = "base_url") -> str:
    """`url` without its trailing slash. Raises InvalidRequestError: a key goes over plain HTTP to this machine only."""
    text = url if isinstance(url, str) else ""
    if "@" in text:  # judged first: the other messages show the URL
        message = f"{name} holds a user or a password: pass api_key or auth instead"
        raise InvalidRequestError(message)
    try:
        parts = urlsplit(text)
        is_odd = parts.port == 0 or not set("?#").isdisjoint(text) or any(map(str.isspace, text))
    except ValueError:  # half an IPv6 address, or a port that is no number
        parts, is_odd = urlsplit(""), True
    if parts.scheme not in {"http", "https"} or not parts.hostname or is_odd:
        message = f"{name} must be like https://api.close.com/api/v1 and is {url!r}"
        raise InvalidRequestError(message)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        message = f"{name} {url!r} is not encrypted: over http:// a key goes to 127.0.0.1, ::1 and localhost only"
        raise InvalidRequestError(message)
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_tz_offset(hours: float | None) -> float | None:
    """`hours` itself. Raises InvalidRequestError where it is no finite number."""
    if hours is not None and (
        isinstance(hours, bool) or not isinstance(hours, int | float) or not math.isfinite(hours)
    ):
        message = f"tz_offset must be hours from UTC, such as -4 or 5.5, and is {hours!r}"
        raise InvalidRequestError(message)
    return hours


def check_user_agent(text: str | None) -> str | None:
    """`text` itself. Raises InvalidRequestError where it cannot stand in a header."""
    if text is not None and not (isinstance(text, str) and text.isascii() and text.isprintable()):
        message = f"user_agent must be printable ASCII on one line and is {text!r}"
        raise InvalidRequestError(message)
    return text


def check_session(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession | None:
    """`session` itself. Raises InvalidRequestError where it has credentials of its own, which aiohttp would refuse."""
    if session is not None and session.auth is not None:
        message = "the session has an auth of its own: pass api_key or auth to this client, and a session without one"
        raise InvalidRequestError(message)
    return session


def choose_auth(api_key: str | None, auth: Auth | None) -> Auth:
    """The auth, or that of the key, or that of `CLOSE_API_KEY`. Raises AuthenticationError where there is none."""
    if api_key is not None and auth is not None:
        message = "api_key and auth were both given: pass one of them"
        raise InvalidRequestError(message)
    if auth is not None:
        return auth
    key = os.environ.get("CLOSE_API_KEY", "").strip() if api_key is None else api_key
    if not key:
        message = "no API key: pass api_key=..., or set CLOSE_API_KEY"
        raise AuthenticationError(status=None, request=message)
    try:
        return ApiKey(key)
    except InvalidRequestError as exc:
        if api_key is not None:
            raise
        message = f"what CLOSE_API_KEY holds is no key: {exc}"
        raise InvalidRequestError(message) from None


def choose_journal(journal: Journal | str | PathLike[str] | None, clock: Clock) -> tuple[Journal, bool]:
    """The journal, and whether the client closes it: what it was given stays the caller's.

    Raises InvalidRequestError for what is none.
    """
    if journal is None:
        return MemoryJournal(), True
    if isinstance(journal, str | PathLike):
        from closebulk_async.sqlite_journal import SqliteJournal  # noqa: PLC0415 - sqlite is for those who use it

        return SqliteJournal(journal, clock=clock), True
    if isinstance(journal, type) or not hasattr(journal, "swap"):
        message = f"journal must be a path or a Journal and is {journal!r}"
        raise InvalidRequestError(message)
    return journal, False


def check_limiter(limiter: Limiter | None) -> Limiter | None:
    """`limiter` itself. Raises InvalidRequestError for what is none."""
    if isinstance(limiter, type) or not (
        limiter is None or (hasattr(limiter, "acquire") and hasattr(limiter, "learn"))
    ):
        message = f"limiter must be a Limiter, as MemoryLimiter(clock) is, and is {limiter!r}"
        raise InvalidRequestError(message)
    return limiter


def check_hooks(hooks: Iterable[Hook]) -> Sequence[Hook]:
    """The hooks in their order. Raises InvalidRequestError for what cannot be called, and for a single one."""
    listed = [hooks] if callable(hooks) else list(hooks)
    if strange := [hook for hook in listed if isinstance(hook, type) or not callable(hook)]:
        message = f"hooks holds {strange[0]!r}, which cannot be called with an event"
        raise InvalidRequestError(message)
    if callable(hooks):
        message = f"hooks must be several and is the one hook {hooks!r}: write [{hooks!r}]"
        raise InvalidRequestError(message)
    return listed
