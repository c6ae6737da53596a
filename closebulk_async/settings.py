"""What stays the same from request to request: where to, as whom, how patiently, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import math
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from closebulk_async.auth import Auth, RenewableAuth
from closebulk_async.clock import Clock
from closebulk_async.errors import InvalidRequestError
from closebulk_async.policy import RetryPolicy, Timeouts
from closebulk_async.version import __version__

if TYPE_CHECKING:
    import aiohttp


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
