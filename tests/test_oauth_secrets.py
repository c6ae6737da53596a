"""A client secret, codes and tokens appear nowhere but on the wire, those of earlier refreshes included."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from closebulk_async import (
    AuthenticationError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    OAuth,
    RetryPolicy,
    TransportError,
    authorize_url,
    exchange_code,
    revoke_token,
)
from closebulk_async.oauth import REMEMBERED
from closebulk_async.simulator import OAuthRules, Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import Peer, answer_well, connect, start_email
from tests.stage import Notes
from tests.test_secrets import everything_logged, everything_said

if TYPE_CHECKING:
    from closebulk_async import OAuthToken
    from closebulk_async.simulator import Fault

TOKEN = "/oauth2/token/"


def secrets_of(sim: Simulator, *more: str) -> list[str]:
    """All that the simulator's app and its tokens are known by."""
    issued = [text for each in sim.oauth.tokens for text in (each.access_token, each.refresh_token) if text]
    return [sim.oauth.client_secret, *issued, *more]


def leaks(text: str, secrets: list[str]) -> list[str]:
    """Those of the secrets that the text shows."""
    return [secret for secret in secrets if secret in text]


WRONG: tuple[Fault, ...] = (
    faults.cut_before(),
    faults.cut_after(),
    faults.hang(),
    faults.truncated_body(),
    faults.broken_json(),
    faults.altered(without=["access_token"]),
    faults.altered(access_token="not a token"),
    faults.server_error(),
    faults.forbidden(),
    faults.redirect("http://127.0.0.1:9/"),
    faults.too_many_requests(),
)


@pytest.mark.parametrize("fault", WRONG, ids=[fault.name for fault in WRONG])
async def test_no_failure_of_a_refresh_shows_one(
    caplog: pytest.LogCaptureFixture, clock: FakeClock, sim: Simulator, fault: Fault
) -> None:
    """Neither in what is raised, with its causes, nor in any log record or event."""
    caplog.set_level(logging.DEBUG)
    granted, notes = sim.oauth.grant(), Notes()
    auth = OAuth(sim.oauth.client_id, sim.oauth.client_secret, granted)
    sim.fail_next(fault, times=None, path=TOKEN)
    said = ""
    async with CloseBulk(
        auth=auth, base_url=sim.base_url, clock=clock, retry=RetryPolicy(attempts=3), hooks=[notes]
    ) as close:
        for operation in (close.emails.list(), start_email(close), close.emails.wait_until_done("x", timeout=60)):
            with pytest.raises(CloseBulkError) as caught:
                await operation
            said += everything_said(caught.value)
        said += f"{vars(close)!r} {auth!r} {auth} {notes.events!r}"
    secrets = secrets_of(sim, granted)
    assert leaks(said, secrets) == []
    assert leaks(everything_logged(caplog), secrets) == []


@pytest.mark.parametrize("is_long", [False, True])
async def test_an_answer_that_echoes_is_not_shown(
    caplog: pytest.LogCaptureFixture, clock: FakeClock, *, is_long: bool
) -> None:
    """What the token endpoint says of a refusal may hold the very form."""
    caplog.set_level(logging.DEBUG)

    def answer(request: web.BaseRequest) -> web.Response:
        sent = dict(parse_qsl(peer.seen[-1].body.decode()))
        # A message shows two hundred characters, and would cut the secret in half.
        words = f"{'x' * 192} {sent['client_secret']}" if is_long else str(sent)
        return web.json_response({"error": words, "error_description": json.dumps(sent)}, status=400)

    code = "code-code"  # not in the line of its use, which tracebacks show
    secrets = ["s3cret-s3cret", "refresh-refresh"]
    async with Peer(answer) as peer:
        auth = OAuth("client", *secrets)
        async with connect(peer, clock, api_key=None, auth=auth) as close:
            with pytest.raises(AuthenticationError) as caught:
                await close.emails.list()
        assert leaks(peer.seen[0].body.decode(), secrets) == secrets
        with pytest.raises(AuthenticationError) as of_code:
            await exchange_code(code, client_id="c", client_secret=secrets[0], base_url=peer.base_url)
        with pytest.raises(AuthenticationError) as of_end:
            await revoke_token(secrets[1], client_id="c", client_secret=secrets[0], base_url=peer.base_url)
    said = "".join(everything_said(each.value) for each in (caught, of_code, of_end))
    assert ("xxx" if is_long else "refresh_token") in said
    assert leaks(said + everything_logged(caplog), [*secrets, code, "s3cret-", "s3c"]) == []


async def test_a_store_that_quotes_the_token_is_not_shown(
    caplog: pytest.LogCaptureFixture, clock: FakeClock, sim: Simulator
) -> None:
    """Errors of databases show their parameters; such a cause is left out."""
    caplog.set_level(logging.DEBUG)

    def keep(token: OAuthToken) -> None:
        raise ValueError("INSERT failed", token.to_dict())

    granted = sim.oauth.grant()
    auth = OAuth(sim.oauth.client_id, sim.oauth.client_secret, granted, on_token=keep)
    async with CloseBulk(auth=auth, base_url=sim.base_url, clock=clock) as close:
        with pytest.raises(TransportError, match="INSERT failed") as caught:
            await close.emails.list()
    assert leaks(everything_said(caught.value) + everything_logged(caplog), secrets_of(sim, granted)) == []


async def test_tokens_of_earlier_refreshes_stay_hidden(clock: FakeClock, sim: Simulator) -> None:
    """Each of the last sixteen, in an answer as in an error; and what is hidden does not grow."""
    sim.oauth_rules = OAuthRules(expires_in=600)
    granted = sim.oauth.grant()
    auth = OAuth(sim.oauth.client_id, sim.oauth.client_secret, granted)
    async with CloseBulk(auth=auth, base_url=sim.base_url, clock=clock) as close:
        for _ in range(3 * REMEMBERED):
            await close.emails.list()
            await clock.sleep(600)
        recent = sim.oauth.tokens[-REMEMBERED:]
        shown = [text for each in recent for text in (each.access_token, each.refresh_token or "")]
        sim.fail_next(faults.reply(400, json.dumps({"error": " ".join(shown)})))
        sim.fail_next(faults.reply(400, json.dumps({"error": " ".join(shown)})), path="/bulk_action/", skip=1)
        with pytest.raises(CloseBulkError) as caught:
            await close.emails.list()
    assert leaks(everything_said(caught.value), shown) == []
    assert leaks(auth.redact(" ".join(shown)), shown) == []
    assert len(auth._hidden) <= 2 * REMEMBERED + 3  # noqa: SLF001 - what must not grow


async def test_the_answer_of_another_token_is_hidden_too(clock: FakeClock) -> None:
    """An API answer that shows the header of its own request does not show the token."""

    def answer(request: web.BaseRequest) -> web.Response:
        if request.path == TOKEN:
            return web.json_response({"access_token": "access-access", "refresh_token": "next-next"})
        return web.Response(text=request.headers["authorization"], status=400)

    async with Peer(answer) as peer:
        auth = OAuth("client", "secret-secret", "refresh-refresh")
        async with connect(peer, clock, api_key=None, auth=auth) as close:
            with pytest.raises(CloseBulkError) as caught:
                await close.emails.list()
    assert "Bearer ***" in str(caught.value)
    assert leaks(everything_said(caught.value), ["access-access", "next-next", "refresh-refresh"]) == []


# The beginning and the end of a grant -----------------------------------------------------------------------------


def of_app(sim: Simulator, clock: FakeClock) -> dict[str, Any]:
    """The keywords that both functions take."""
    app = sim.oauth
    return {
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "base_url": sim.base_url,
        "clock": clock,
    }


def test_the_address_to_log_in_is_that_of_the_app() -> None:
    """As documented, on another host than the API; where the API is elsewhere, on its host."""
    assert (
        authorize_url("client 1", state="s/s")
        == "https://app.close.com/oauth2/authorize/?client_id=client+1&response_type=code&state=s%2Fs"
    )
    assert authorize_url("c", state="s", redirect_uri="https://a.example/x", base_url="http://127.0.0.1:80/api/v1") == (
        "http://127.0.0.1:80/oauth2/authorize/?client_id=c&response_type=code&state=s"
        "&redirect_uri=https%3A%2F%2Fa.example%2Fx"
    )


async def test_a_code_becomes_a_token_once(clock: FakeClock, sim: Simulator) -> None:
    """The token serves a client; the same code again is refused, and no answer makes it go twice."""
    code = sim.oauth.make_code()
    token = await exchange_code(code, **of_app(sim, clock))
    assert token.refresh_token is not None
    assert dict(parse_qsl(sim.requests[0].body.decode()))["grant_type"] == "authorization_code"
    assert "authorization" not in sim.requests[0].headers
    auth = OAuth(sim.oauth.client_id, sim.oauth.client_secret, token.refresh_token, access_token=token.access_token)
    async with CloseBulk(auth=auth, base_url=sim.base_url, clock=clock) as close:
        await close.emails.list()
    with pytest.raises(AuthenticationError, match="invalid_grant"):
        await exchange_code(code, **of_app(sim, clock))
    assert len(sim.requests) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.server_error(503), CloseBulkError),
        (faults.cut_after(), TransportError),
        (faults.altered(without=["access_token"]), DecodeError),
    ],
    ids=["5xx", "cut", "odd"],
)
async def test_a_code_is_sent_once_whatever_happens(
    clock: FakeClock, sim: Simulator, fault: Fault, error: type[CloseBulkError]
) -> None:
    """It is good for one use."""
    sim.fail_next(fault)
    with pytest.raises(error):
        await exchange_code(sim.oauth.make_code(), **of_app(sim, clock))
    assert len(sim.requests) == 1


async def test_a_revoked_token_opens_nothing(clock: FakeClock, sim: Simulator) -> None:
    """Neither a refresh nor a request."""
    token = await exchange_code(sim.oauth.make_code(), **of_app(sim, clock))
    assert token.refresh_token is not None
    await revoke_token(token.refresh_token, **of_app(sim, clock))
    app = sim.oauth
    auth = OAuth(app.client_id, app.client_secret, token.refresh_token, access_token=token.access_token)
    async with CloseBulk(auth=auth, base_url=sim.base_url, clock=clock) as close:
        with pytest.raises(AuthenticationError, match="invalid_grant"):
            await close.emails.list()


async def test_a_code_that_is_none_is_refused_before_it_is_sent(clock: FakeClock, sim: Simulator) -> None:
    """The message names it and does not show it."""
    with pytest.raises(InvalidRequestError, match="the code") as caught:
        await exchange_code("two words", **of_app(sim, clock))
    assert "two words" not in str(caught.value)
    assert not sim.requests


async def test_a_client_goes_on_while_a_token_is_exchanged() -> None:
    """Lest the tests above pass because nothing was on the wire."""
    async with Peer(answer_well) as peer:
        auth = OAuth("client", "secret-secret", "refresh-refresh", access_token="access-access")
        async with connect(peer, FakeClock(), api_key=None, auth=auth) as close:
            await asyncio.gather(close.emails.list(), close.deletes.list())
        assert {seen.headers["authorization"] for seen in peer.seen} == {"Bearer access-access"}
