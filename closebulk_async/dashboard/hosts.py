"""By which names a dashboard may be called, and whether a request comes from a page of its own. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def check_hosts(names: Collection[str]) -> frozenset[str]:
    """Names of hosts as they are compared: in lower case, without a port. Raises InvalidRequestError."""
    if isinstance(names, str):
        raise InvalidRequestError(f"allowed_hosts must be several and is the one text {names!r}: write [{names!r}]")
    found = set()
    for name in names:
        match = _HOST.fullmatch(name) if isinstance(name, str) else None
        if match is None or match[2]:
            raise InvalidRequestError(f"allowed_hosts holds {name!r}: expected the name of a host, without a port")
        found.add(_fold(match[1]))
    return frozenset(found)


def may_be_called(host: str | None, allowed: Collection[str]) -> bool:
    """Whether a request with this `Host` header is for a dashboard.

    A page of a stranger's may have its own name resolved to this machine (DNS rebinding), and then reads as its own
    whatever is answered under that name. An address in digits is resolved by nobody, so it cannot be rebound; nor can
    `localhost`, which browsers know by themselves.
    """
    match = _HOST.fullmatch(host or "")
    if match is None:
        return False
    name = _fold(match[1])
    return name == "localhost" or name in allowed or is_address(name)


def is_same_origin(origin: str, host: str | None) -> bool:
    """Whether an `Origin` header names the host of the `Host` header.

    The scheme says nothing here: in front of a dashboard there may be something that speaks TLS for it.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None or host is None:
        return False
    scheme, authority = match[1], match[2]
    return _split(authority, scheme) == _split(host, scheme)


def _split(authority: str, scheme: str) -> tuple[str, str]:
    match = _HOST.fullmatch(authority)
    return ("", authority) if match is None else (_fold(match[1]), match[2] or _DEFAULT_PORTS[scheme])


def _fold(name: str) -> str:
    return name.lower().removesuffix(".")


def is_address(name: str) -> bool:
    """Whether a host is named by its address in digits, and not by a name that has to be resolved."""
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    return _fold(host) == "localhost" or (is_address(host) and ip_address(host.strip("[]")).is_loopback)
