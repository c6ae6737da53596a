"""Names by which a dashboard may be called."""

from __future__ import annotations

import pytest

from closebulk_async import InvalidRequestError
from closebulk_async.dashboard.hosts import check_hosts, is_loopback, is_same_origin, may_be_called

GOOD = ["127.0.0.1", "127.0.0.1:8765", "10.1.2.3:80", "[::1]", "[::1]:8765", "localhost", "LOCALHOST:1", "localhost."]
BAD = [
    None,
    "",
    "evil.example",
    "evil.example:8765",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "evil.example/127.0.0.1",
    "127.1",
    "0x7f000001",
    "localhost:port",
    "localhost:8765:1",
    "[::1",
    "::1",
    " localhost",
    "localhost evil.example",
]


@pytest.mark.parametrize("host", GOOD)
def test_addresses_and_localhost_are_this_host(host: str) -> None:
    """Nobody can resolve them to something else."""
    assert may_be_called(host, ())


@pytest.mark.parametrize("host", BAD)
def test_other_names_are_not(host: str | None) -> None:
    """A stranger's page may have them resolved to this machine."""
    assert not may_be_called(host, ())


@pytest.mark.parametrize("host", ["dash.example.com", "DASH.example.com:443", "dash.example.com."])
def test_allowed_names_are(host: str) -> None:
    """However they are written."""
    assert may_be_called(host, check_hosts(["Dash.Example.com"]))
    assert not may_be_called(f"x{host}", check_hosts(["Dash.Example.com"]))


@pytest.mark.parametrize("names", ["dash.example.com", ["dash.example.com:80"], ["http://dash.example.com"], [""], [1]])
def test_what_is_no_name_is_refused(names: list[str]) -> None:
    """At the start, and not when nobody can reach the page."""
    with pytest.raises(InvalidRequestError, match="allowed_hosts"):
        check_hosts(names)


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765", True),
        ("https://dash.example.com", "dash.example.com", True),
        ("https://dash.example.com", "Dash.example.com:443", True),
        ("http://localhost:8765", "localhost:8766", False),
        ("http://localhost:8765", "127.0.0.1:8765", False),
        ("https://evil.example", "dash.example.com", False),
        ("null", "dash.example.com", False),
        ("", "", False),
        ("https://dash.example.com", None, False),
        ("https://dash.example.com@evil.example", "dash.example.com", False),
    ],
)
def test_an_origin_is_compared_with_its_port(origin: str, host: str | None, is_same: bool) -> None:  # noqa: FBT001 - a case
    """Another port of the same machine is somebody else's."""
    assert is_same_origin(origin, host) is is_same


@pytest.mark.parametrize(
    ("host", "is_private"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104 - what is asked
)
def test_where_only_this_machine_can_reach_it(host: str, is_private: bool) -> None:  # noqa: FBT001 - a case
    """Elsewhere a token is demanded."""
    assert is_loopback(host) is is_private
