"""Who one is to the service: exact headers, and secrets that do not show."""

from __future__ import annotations

import base64
import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    ApiKey,
    AuthenticationError,
    BearerToken,
    CloseBulk,
    InvalidRequestError,
    PermissionDeniedError,
)
from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import Peer, connect, start_email

if TYPE_CHECKING:
    from closebulk_async import Auth

SECRET = "api_5ecret.s3cret"


def test_an_api_key_is_the_user_of_http_basic() -> None:
    """The header is the one that the vendor's documentation shows for `yourapikey:`."""
    assert ApiKey("yourapikey").header() == "Basic eW91cmFwaWtleTo="


def test_a_token_is_sent_as_it_is() -> None:
    """Bearer, a space, the token."""
    assert BearerToken("abc.def-ghi").header() == "Bearer abc.def-ghi"


@pytest.mark.parametrize("make", [ApiKey, BearerToken])
@pytest.mark.parametrize("secret", ["", " ", "a b", "a\n", "a\r\nx: y", "\x00", "schlüssel", "a\t", b"bytes", None, 7])
def test_a_secret_that_cannot_stand_in_a_header_is_refused(make: type[ApiKey | BearerToken], secret: str) -> None:
    """The message says what is wrong and does not show the value."""
    with pytest.raises(InvalidRequestError, match="printable ASCII") as caught:
        make(secret)
    assert not isinstance(secret, str) or not secret.strip() or secret not in str(caught.value)


def test_a_key_with_a_colon_is_refused() -> None:
    """HTTP Basic would take what follows as the password."""
    with pytest.raises(InvalidRequestError, match="colon") as caught:
        ApiKey(f"{SECRET}:x")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("auth", [ApiKey(SECRET), BearerToken(SECRET)])
def test_its_repr_shows_nothing(auth: Auth) -> None:
    """Neither the secret nor its encoded form stands in repr, str or format."""
    shown = f"{auth!r} {auth} {[auth]}"
    assert SECRET not in shown
    assert base64.b64encode(f"{SECRET}:".encode()).decode() not in shown


@pytest.mark.parametrize("auth", [ApiKey(SECRET), BearerToken(SECRET)])
def test_redacting_hides_every_form_of_it(auth: Auth) -> None:
    """The secret and what the header makes of it are replaced wherever they stand, and nothing else is."""
    text = f"curl -H 'Authorization: {auth.header()}' # {SECRET}, {SECRET}"
    hidden = auth.redact(text)
    assert SECRET not in hidden
    assert auth.header().partition(" ")[2] not in hidden
    assert hidden.startswith("curl -H 'Authorization: ")
    assert auth.redact("nothing of it") == "nothing of it"


@pytest.mark.parametrize("make", [ApiKey, BearerToken])
def test_they_are_values(make: type[ApiKey | BearerToken]) -> None:
    """Equal secrets are equal; copies and pickles keep the header."""
    assert make("a") == make("a") != make("b")
    assert hash(make("a")) == hash(make("a"))
    for twin in (copy.copy(make("a")), pickle.loads(pickle.dumps(make("a")))):  # noqa: S301 - made right here
        assert (twin, twin.header()) == (make("a"), make("a").header())


async def test_every_request_carries_the_key() -> None:
    """GET, POST and PUT have the Basic header and no other credentials."""
    async with Peer() as peer, connect(peer, FakeClock()) as close:
        await close.emails.pause(await start_email(close))
        await close.emails.list()
    expected = "Basic " + base64.b64encode(f"{peer.api_key}:".encode()).decode()
    assert [seen.headers["authorization"] for seen in peer.seen] == [expected] * 4


async def test_every_request_carries_the_token() -> None:
    """With a bearer token the service knows whoever has no API key."""
    clock = FakeClock()
    async with (
        Simulator(clock=clock, bearer_tokens=("tok-1",)) as sim,
        connect(sim, clock, api_key=None, auth=BearerToken("tok-1")) as close,
    ):
        await close.emails.list()
    assert sim.requests[0].headers["authorization"] == "Bearer tok-1"


async def test_a_wrong_key_is_said_once() -> None:
    """A 401 raises at the first request: clients that hammer on it are rate-limited."""
    clock = FakeClock()
    async with Simulator(clock=clock) as sim, connect(sim, clock, api_key="api_wrong") as close:
        with pytest.raises(AuthenticationError) as caught:
            await close.emails.list()
        with pytest.raises(AuthenticationError):
            await start_email(close)
    assert (caught.value.status, caught.value.errors) == (401, ("Unauthorized",))
    assert len(sim.requests) == 2
    assert clock.monotonic() == 0


async def test_a_403_in_plain_text_is_a_refusal() -> None:
    """The body is no JSON, and what it says is kept."""
    clock = FakeClock()
    async with Simulator(clock=clock) as sim, connect(sim, clock) as close:
        sim.fail_next(faults.forbidden())
        with pytest.raises(PermissionDeniedError, match="403 Forbidden: Forbidden") as caught:
            await start_email(close)
    assert (caught.value.status, caught.value.body) == (403, "Forbidden")
    assert not sim.jobs


async def test_a_short_key_leaves_what_the_service_says_alone() -> None:
    """`test` stands in template ids and addresses: hiding it there would hide the data."""
    async with Simulator(api_key="test") as sim, CloseBulk("test", base_url=sim.base_url) as close:
        job = sim.add_job("email", template_id="tmpl_test", sender="test@example.com")
        action = await close.emails.get(job.id)
    assert (action.template_id, action.sender) == ("tmpl_test", "test@example.com")
