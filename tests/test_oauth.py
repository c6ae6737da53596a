"""Tokens that renew themselves: once for all who wait, kept before they are used, and never in a loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import attrs
import pytest
from aiohttp import ClientSession, web

from closebulk_async import (
    ApiKey,
    AuthenticationError,
    CloseBulk,
    InvalidRequestError,
    OAuth,
    OAuthToken,
    RetryPolicy,
    TransportError,
)
from closebulk_async.errors import ClientClosedError
from closebulk_async.oauth import EARLY, YOUNG
from closebulk_async.simulator import OAuthRules, Plan, Simulator, faults
from closebulk_async.testing import FakeClock
from closebulk_async.testing.fake_clock import START
from tests.peers import Peer, answer_well, connect, start_email
from tests.stage import cancel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.simulator import Request

TOKEN = "/oauth2/token/"
MANY = 100


@attrs.define
class Keeper:
    """An `on_token` that keeps what it is given; `failing` is what it raises first."""

    failing: Exception | None = None
    kept: list[OAuthToken] = attrs.field(factory=list)
    given: list[OAuthToken] = attrs.field(factory=list)

    async def __call__(self, token: OAuthToken) -> None:
        """Keep one, after a turn of the loop."""
        self.given.append(token)
        await asyncio.sleep(0)
        if self.failing is not None:
            raise self.failing
        self.kept.append(token)


def make_auth(sim: Simulator, **options: Any) -> OAuth:
    """That of a new grant, without an access token yet."""
    return OAuth(sim.oauth.client_id, sim.oauth.client_secret, sim.oauth.grant(), **options)


def client_of(sim: Simulator, clock: FakeClock, auth: OAuth, **options: Any) -> CloseBulk:
    """A client that is whoever `auth` is."""
    return CloseBulk(auth=auth, base_url=sim.base_url, clock=clock, **options)


def forms(sim: Simulator) -> list[Request]:
    """The requests to the token endpoint."""
    return [request for request in sim.requests if request.path == TOKEN]


async def list_many(close: CloseBulk) -> list[BaseException | None]:
    """What became of a hundred reads at once; None where it was an answer."""
    found = await asyncio.gather(*(close.emails.list() for _ in range(MANY)), return_exceptions=True)
    return [one if isinstance(one, BaseException) else None for one in found]


# One refresh ------------------------------------------------------------------------------------------------------


async def test_many_tasks_without_a_token_cause_one_refresh(clock: FakeClock, sim: Simulator) -> None:
    """A hundred reads begin without an access token: one refresh, and a hundred answers."""
    async with client_of(sim, clock, make_auth(sim)) as close:
        assert await list_many(close) == [None] * MANY
    assert (sim.oauth.refreshes, len(sim.requests)) == (1, MANY + 1)


async def test_many_tasks_that_meet_an_expired_token_cause_one_refresh(clock: FakeClock, sim: Simulator) -> None:
    """Where only the answers tell that it has expired, what was refused waits, and is sent once more."""
    auth = make_auth(sim)
    async with client_of(sim, clock, auth) as close:
        await close.emails.list()
        await clock.sleep(YOUNG.total_seconds())
        sim.oauth.expire_tokens()
        assert await list_many(close) == [None] * MANY
    assert sim.oauth.refreshes == 2
    assert auth.generation == 2
    refused = [request for request in sim.requests if request.status == 401]
    assert len(refused) > 1
    assert len(sim.requests) == 2 + len(refused) + 1 + MANY


async def test_a_token_is_renewed_before_it_expires(clock: FakeClock, sim: Simulator) -> None:
    """A minute before its end it is renewed without a 401; a second earlier it is not."""
    async with client_of(sim, clock, make_auth(sim)) as close:
        await close.emails.list()
        await clock.sleep((timedelta(hours=1) - EARLY).total_seconds() - 1)
        await close.emails.list()
        assert sim.oauth.refreshes == 1
        await clock.sleep(1)
        await close.emails.list()
        assert sim.oauth.refreshes == 2
    assert len(sim.requests) == 3 + 2


async def test_a_token_that_lives_for_a_minute_is_not_renewed_all_the_time(clock: FakeClock, sim: Simulator) -> None:
    """What lives for less than the time by which tokens are renewed early serves half of its life."""
    sim.oauth_rules = OAuthRules(expires_in=40)
    async with client_of(sim, clock, make_auth(sim)) as close:
        for _ in range(4):
            await close.emails.list()
            await clock.sleep(10)
    assert sim.oauth.refreshes == 2


async def test_a_token_that_was_kept_is_used_first(clock: FakeClock, sim: Simulator) -> None:
    """With an access token of an earlier process there is no refresh before it is due."""
    first = make_auth(sim)
    async with client_of(sim, clock, first) as close:
        await close.emails.list()
    token = first.token
    assert token is not None
    assert token.refresh_token is not None
    again = OAuth(
        sim.oauth.client_id,
        sim.oauth.client_secret,
        token.refresh_token,
        access_token=token.access_token,
        expires_at=token.expires_at,
    )
    async with client_of(sim, clock, again) as close:
        await close.emails.list()
        assert sim.oauth.refreshes == 1
        await clock.sleep(3600 - EARLY.total_seconds())
        await close.emails.list()
    assert sim.oauth.refreshes == 2


async def test_clients_that_share_one_share_its_refreshes(clock: FakeClock, sim: Simulator) -> None:
    """Two clients at once need one refresh, and each hears of the other's."""
    auth = make_auth(sim)
    async with client_of(sim, clock, auth) as one, client_of(sim, clock, auth) as other:
        assert [*await asyncio.gather(list_many(one), list_many(other))] == [[None] * MANY] * 2
        await clock.sleep(YOUNG.total_seconds())
        sim.oauth.expire_tokens()
        await one.emails.list()
        await other.emails.list()
    assert sim.oauth.refreshes == 2


async def test_a_request_that_was_sent_with_an_older_token_is_repeated_with_the_newest(
    clock: FakeClock, sim: Simulator
) -> None:
    """A 401 that comes after somebody else's refresh causes none of its own."""
    async with client_of(sim, clock, make_auth(sim)) as close:
        await close.emails.list()
        await clock.sleep(YOUNG.total_seconds())
        sim.oauth.expire_tokens()
        sim.fail_next(faults.delay(5), method="GET")  # refused five seconds after the other one
        slow = asyncio.create_task(close.emails.list())
        await asyncio.sleep(0)
        await close.deletes.list()
        await slow
    assert sim.oauth.refreshes == 2


def test_one_serves_several_loops_one_after_the_other() -> None:
    """Nothing of a loop that has ended is waited for."""
    clock = FakeClock()

    async def read(auth: OAuth | None) -> OAuth:
        async with Simulator(clock=clock, seed=1) as sim:
            made = make_auth(sim)
            auth = auth or made
            async with client_of(sim, clock, auth) as close:
                await close.emails.list()
            return auth

    auth = asyncio.run(read(None))
    assert auth.generation == 1

    async def ask_again() -> int:
        async with Simulator(clock=clock) as sim, client_of(sim, clock, auth) as close:
            with pytest.raises(AuthenticationError):  # another service, which knows nothing of it
                await close.emails.list()
            return len(sim.requests)

    clock = FakeClock(START + timedelta(hours=2))
    assert asyncio.run(ask_again()) == 1


# What the form holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("borrows", [False, True])
async def test_the_form_is_as_documented(clock: FakeClock, sim: Simulator, *, borrows: bool) -> None:
    """The four fields in a form, and no Authorization, also where the caller's session has one of its own."""
    auth = make_auth(sim)
    secret = auth._refresh_token  # noqa: SLF001 - what was granted
    async with (
        ClientSession(headers={"Authorization": "Basic bm8="}) as session,
        client_of(sim, clock, auth, session=session if borrows else None) as close,
    ):
        await close.emails.list()
    asked, answered = sim.requests
    assert (asked.method, asked.path, dict(asked.query)) == ("POST", TOKEN, {})
    assert dict(parse_qsl(asked.body.decode())) == {
        "client_id": sim.oauth.client_id,
        "client_secret": sim.oauth.client_secret,
        "grant_type": "refresh_token",
        "refresh_token": secret,
    }
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in asked.headers
    assert answered.headers["authorization"] == auth.header()


async def test_another_token_url_is_taken(clock: FakeClock, sim: Simulator) -> None:
    """Where it was given, and nowhere else; not without encryption to another machine."""
    async with Peer(lambda _: web.json_response({"access_token": "tok-other-other"})) as peer:
        auth = make_auth(sim, token_url=f"{peer.base_url}/elsewhere/")
        async with client_of(sim, clock, auth) as close:
            with pytest.raises(AuthenticationError):  # the simulator does not know that token
                await close.emails.list()
        assert [seen.path for seen in peer.seen] == ["/elsewhere/"]
    with pytest.raises(InvalidRequestError, match="token_url"):
        make_auth(sim, token_url="http://auth.example/oauth2/token/")


# Who keeps the token ----------------------------------------------------------------------------------------------


async def test_a_token_is_kept_before_it_is_used(clock: FakeClock, sim: Simulator) -> None:
    """While `on_token` works nothing is sent; when it has ended, the token that it was given is used."""
    gate, requests_before = asyncio.Event(), []

    async def keep(token: OAuthToken) -> None:
        kept.append(token)
        await gate.wait()
        requests_before.append(len(sim.requests))

    kept: list[OAuthToken] = []
    async with client_of(sim, clock, make_auth(sim, on_token=keep)) as close:
        reading = asyncio.create_task(close.emails.list())
        await clock.settle()
        assert len(sim.requests) == 1
        gate.set()
        await reading
    assert requests_before == [1]
    assert kept[0].access_token == sim.oauth.tokens[0].access_token
    assert kept[0].refresh_token == sim.oauth.tokens[0].refresh_token
    assert kept[0].expires_at == START + timedelta(hours=1)
    assert kept[0].organization_id == sim.organization_id
    assert [*sim.requests][-1].headers["authorization"] == f"Bearer {kept[0].access_token}"


async def test_a_plain_function_may_keep_it(clock: FakeClock, sim: Simulator) -> None:
    """`list.append` does."""
    kept: list[OAuthToken] = []
    async with client_of(sim, clock, make_auth(sim, on_token=kept.append)) as close:
        await close.emails.list()
    assert [token.access_token for token in kept] == [sim.oauth.tokens[0].access_token]


async def test_a_token_that_could_not_be_kept_is_not_lost(clock: FakeClock, sim: Simulator) -> None:
    """All callers get the error, and nothing is sent; then the same token is given once more, without a refresh."""
    keeper = Keeper(failing=OSError("no space left"))
    async with client_of(sim, clock, make_auth(sim, on_token=keeper)) as close:
        errors = await list_many(close)
        assert {type(error) for error in errors} == {TransportError}
        assert {error.__cause__ for error in errors if error} == {keeper.failing}
        assert "no space left" in str(errors[0])
        assert len(sim.requests) == 1
        keeper.failing = None
        await close.emails.list()
    assert sim.oauth.refreshes == 1
    assert len(set(keeper.given)) == 1
    assert len(keeper.given) == 2
    assert keeper.kept == keeper.given[-1:]


async def test_a_token_that_expired_before_it_was_kept_is_kept_and_renewed(clock: FakeClock, sim: Simulator) -> None:
    """The newest refresh token serves, though nobody could write it down when it came."""
    keeper = Keeper(failing=OSError("no space left"))
    async with client_of(sim, clock, make_auth(sim, on_token=keeper)) as close:
        with pytest.raises(TransportError):
            await close.emails.list()
        keeper.failing = None
        await clock.sleep(7200)
        await close.emails.list()
    assert [token.access_token for token in keeper.kept] == [issued.access_token for issued in sim.oauth.tokens]


async def test_a_wait_outlives_a_store_that_is_down(clock: FakeClock, sim: Simulator) -> None:
    """What `on_token` raises is a bad poll, and no end of the wait."""
    keeper = Keeper()
    job = sim.add_job("email", plan=Plan(duration=7200))
    async with client_of(sim, clock, make_auth(sim, on_token=keeper)) as close:
        waiting = asyncio.create_task(close.emails.wait_until_done(job.id).result())
        await clock.sleep(3000)
        keeper.failing = OSError("no space left")
        await clock.sleep(900)
        keeper.failing = None
        action = await waiting
    assert action.is_done


async def test_who_keeps_it_must_not_use_the_client(clock: FakeClock, sim: Simulator) -> None:
    """It would wait for itself for ever; so it is told."""

    async def keep(_: OAuthToken) -> None:
        await close.emails.list()

    async with client_of(sim, clock, make_auth(sim, on_token=keep)) as close:
        with pytest.raises(TransportError, match="must not use the client"):
            await close.emails.list()


# A 401 ------------------------------------------------------------------------------------------------------------


async def test_a_401_never_loops(clock: FakeClock, sim: Simulator) -> None:
    """Where no token is ever good enough each read is sent twice at most, and there is one refresh."""
    auth = make_auth(sim)
    async with client_of(sim, clock, auth) as close:
        await close.emails.list()
        await clock.sleep(YOUNG.total_seconds())
        sim.fail_next(faults.reply(401, '{"error":"Unauthorized"}'), times=None, path="/bulk_action/")
        errors = await list_many(close)
        assert {type(error) for error in errors} == {AuthenticationError}
        assert sim.oauth.refreshes == 2
        sent = len(sim.requests)
        assert 2 + MANY < sent <= 2 + 2 * MANY + 1
        await list_many(close)  # the token is young: another one would be refused as well
    assert sim.oauth.refreshes == 2
    assert len(sim.requests) == sent + MANY


async def test_a_401_after_a_refresh_is_raised(clock: FakeClock, sim: Simulator) -> None:
    """A token that is refused at once is not renewed at all."""
    sim.fail_next(faults.reply(401, '{"error":"Unauthorized"}'), path="/bulk_action/")
    async with client_of(sim, clock, make_auth(sim)) as close:
        with pytest.raises(AuthenticationError, match="GET /bulk_action/email/ was answered with 401"):
            await close.emails.list()
        await close.emails.list()
    assert sim.oauth.refreshes == 1


async def test_a_key_is_not_renewed(clock: FakeClock, sim: Simulator) -> None:
    """A refused API key is refused once."""
    async with CloseBulk(auth=ApiKey("api_wrong.wrong"), base_url=sim.base_url, clock=clock) as close:
        with pytest.raises(AuthenticationError):
            await close.emails.list()
    assert len(sim.requests) == 1


async def test_a_change_of_status_is_sent_again_after_a_401(clock: FakeClock, sim: Simulator) -> None:
    """A PUT that was refused has changed nothing."""
    job = sim.add_job("email", plan=Plan(duration=7200))
    async with client_of(sim, clock, make_auth(sim)) as close:
        await close.emails.list()
        await clock.sleep(YOUNG.total_seconds())
        sim.oauth.expire_tokens()
        action = await close.emails.pause(job.id)
    assert action.is_paused
    assert [request.method for request in sim.requests].count("PUT") == 2


@pytest.mark.parametrize("persists", [False, True])
async def test_a_create_that_was_refused_is_sent_again_as_the_same_intent(
    clock: FakeClock, sim: Simulator, *, persists: bool
) -> None:
    """A 401 proves that nothing was started: after the refresh the intent goes once more, with a new fence, once."""
    auth = make_auth(sim)
    async with client_of(sim, clock, auth) as close:
        await close.emails.list()
        await clock.sleep(YOUNG.total_seconds())
        refusal = faults.reply(401, '{"error":"Unauthorized"}')
        sim.fail_next(refusal, method="POST", path="/bulk_action/", times=2 if persists else 1)
        if persists:
            with pytest.raises(AuthenticationError):
                await start_email(close)
        else:
            await start_email(close)
        intents = await close.journal.unfinished(sim.base_url)
    sent = [request.path for request in sim.requests[2:]]
    listed_and_posted = ["/api/v1/bulk_action/email/"] * 2
    assert sent == [*listed_and_posted, TOKEN, *listed_and_posted]
    assert len(sim.jobs) == (0 if persists else 1)
    assert not [intent for intent in intents if intent.ref is None]
    assert sim.oauth.refreshes == 2


# Who leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stays", [True, False])
async def test_a_refresh_outlives_whoever_began_it(sim: Simulator, clock: FakeClock, *, stays: bool) -> None:
    """A cancelled leader does not hang those who wait with it, and the answer is taken in, though nobody waits."""
    keeper = Keeper()
    sim.fail_next(faults.delay(5, acts_first=True), path=TOKEN)
    async with client_of(sim, clock, make_auth(sim, on_token=keeper)) as close:
        leader = asyncio.create_task(close.emails.list())
        await asyncio.sleep(0)
        follower = asyncio.create_task(close.emails.list())
        await asyncio.sleep(0)
        await cancel(leader)
        if stays:
            await follower
        else:
            await cancel(follower)
            await clock.sleep(10)
            await close.emails.list()
    assert len(keeper.kept) == 1
    assert len(forms(sim)) == 1


async def test_a_client_that_is_closed_takes_the_answer_in(sim: Simulator, clock: FakeClock) -> None:
    """Whoever waits hears that the client is closed, which waits for the token and has it kept."""
    keeper = Keeper()
    auth = make_auth(sim, on_token=keeper)
    sim.fail_next(faults.delay(5, acts_first=True), path=TOKEN)
    close = client_of(sim, clock, auth)
    async with close:
        waiting = asyncio.create_task(close.emails.list())
        await clock.sleep(1)
    with pytest.raises(ClientClosedError):
        await waiting
    assert len(keeper.kept) == 1
    async with client_of(sim, clock, auth) as other:
        await other.emails.list()
    assert len(forms(sim)) == 1


async def test_another_client_goes_on_with_a_refresh_that_one_left(sim: Simulator, clock: FakeClock) -> None:
    """The client that asked is closed between two attempts; the one that waited with it asks by itself."""
    auth = make_auth(sim)
    sim.fail_next(faults.too_many_requests(retry_after=30), path=TOKEN)
    one = client_of(sim, clock, auth)
    async with client_of(sim, clock, auth) as other:
        async with one:
            leader = asyncio.create_task(one.emails.list())
            await clock.sleep(1)
            follower = asyncio.create_task(other.emails.list())
            await clock.sleep(1)
        with pytest.raises(ClientClosedError):
            await leader
        await follower
    assert len(forms(sim)) == 2


# What goes wrong at the token endpoint ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.server_error(503), faults.too_many_requests(retry_after=3)], ids=str)
async def test_a_token_endpoint_that_fails_is_asked_again(clock: FakeClock, sim: Simulator, fault: Any) -> None:  # noqa: ANN401 - any fault
    """By the policy of the client, and as the server asks."""
    sim.fail_next(fault, times=2, path=TOKEN)
    async with client_of(sim, clock, make_auth(sim)) as close:
        assert await list_many(close) == [None] * MANY
    assert len(forms(sim)) == 3


async def test_a_token_endpoint_that_is_down_is_told(clock: FakeClock, sim: Simulator) -> None:
    """After the attempts of the policy it is a TransportError, of which nothing was sent; later it is asked again."""
    sim.fail_next(faults.server_error(503), times=3, path=TOKEN)
    async with client_of(sim, clock, make_auth(sim), retry=RetryPolicy(attempts=3)) as close:
        with pytest.raises(TransportError, match="answered 503") as caught:
            await close.emails.list()
        assert not caught.value.sent
        await close.emails.list()
    assert len(forms(sim)) == 4


async def test_a_connection_that_is_refused_is_tried_again(clock: FakeClock) -> None:
    """By the policy, and the error says what could not be reached."""
    async with Peer() as gone:
        base_url = gone.base_url
    auth = OAuth("client", "secret-secret", "refresh-refresh")
    async with CloseBulk(auth=auth, base_url=base_url, clock=clock, retry=RetryPolicy(attempts=2)) as close:
        with pytest.raises(TransportError, match="no connection"):
            await close.emails.list()


async def test_an_early_refresh_that_fails_leaves_the_token_in_use(clock: FakeClock, sim: Simulator) -> None:
    """A token endpoint that is down for the last minute of a token stops nobody before that has ended."""
    async with client_of(sim, clock, make_auth(sim), retry=RetryPolicy(attempts=1)) as close:
        await close.emails.list()
        sim.fail_next(faults.server_error(503), times=None, path=TOKEN)
        await clock.sleep(3600 - 30)
        await close.emails.list()
        await clock.sleep(30)
        with pytest.raises(TransportError):
            await close.emails.list()


@pytest.mark.parametrize("fault", [faults.hang(), faults.cut_before(), faults.truncated_body()], ids=str)
async def test_a_lost_answer_is_asked_for_once_more(clock: FakeClock, sim: Simulator, fault: Any) -> None:  # noqa: ANN401 - any fault
    """Where the service had issued nothing, the same refresh token serves."""
    sim.fail_next(attrs.evolve(fault, acts=False), path=TOKEN)
    async with client_of(sim, clock, make_auth(sim)) as close:
        await close.emails.list()
    assert len(forms(sim)) == 2


async def test_two_lost_answers_are_enough(clock: FakeClock, sim: Simulator) -> None:
    """A third time it is not asked, whatever the policy, before somebody needs a token again."""
    sim.fail_next(faults.cut_before(), times=2, path=TOKEN)
    async with client_of(sim, clock, make_auth(sim), retry=RetryPolicy(attempts=9)) as close:
        with pytest.raises(TransportError):
            await close.emails.list()
        assert len(forms(sim)) == 2
        await close.emails.list()


async def test_a_lost_answer_that_had_revoked_the_token_says_what_to_do(clock: FakeClock, sim: Simulator) -> None:
    """The service issued the next token and the answer was cut: log in again."""
    sim.fail_next(faults.cut_after(), path=TOKEN)
    async with client_of(sim, clock, make_auth(sim)) as close:
        with pytest.raises(AuthenticationError, match=r"answer to an earlier refresh was lost.*log in again") as caught:
            await close.emails.list()
    assert caught.value.status == 400
    assert len(forms(sim)) == 2


async def test_a_grant_that_is_refused_is_asked_for_no_more(clock: FakeClock, sim: Simulator) -> None:
    """After `invalid_grant` no request is sent, neither a refresh nor any other."""
    auth = OAuth(sim.oauth.client_id, sim.oauth.client_secret, "no-such-token")
    async with client_of(sim, clock, auth) as close:
        for _ in range(3):
            errors = await list_many(close)
            assert {type(error) for error in errors} == {AuthenticationError}
            assert "invalid_grant" in str(errors[0])
            assert "log in again" in str(errors[0])
            await clock.sleep(3600)
        with pytest.raises(AuthenticationError):
            await start_email(close)
        with pytest.raises(AuthenticationError):
            await close.emails.wait_until_done("bulkemail_1")
    assert len(sim.requests) == 1


async def test_an_app_that_is_not_known_is_asked_for_no_more(clock: FakeClock, sim: Simulator) -> None:
    """A wrong client secret is wrong for ever."""
    auth = OAuth(sim.oauth.client_id, "wrong-wrong-wrong", sim.oauth.grant())
    async with client_of(sim, clock, auth) as close:
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="invalid_client") as caught:
                await close.emails.list()
            assert caught.value.status == 401
    assert len(sim.requests) == 1


async def test_another_refusal_is_no_end(clock: FakeClock, sim: Simulator) -> None:
    """A 403, of a firewall say, is raised once, and asked about again the next time."""
    sim.fail_next(faults.forbidden(), path=TOKEN)
    async with client_of(sim, clock, make_auth(sim)) as close:
        with pytest.raises(AuthenticationError, match="403"):
            await close.emails.list()
        await close.emails.list()


async def test_odd_answers_of_the_token_endpoint(clock: FakeClock) -> None:
    """A token without an end or a successor serves until it is refused; an answer without a token is none."""
    answers: list[dict[str, object]] = [
        {"access_token": "tok-one-tok-one", "expires_in": "soon"},
        {"access_token": "tok two"},
        {"access_token": "tok-three-tok", "expires_in": 0, "refresh_token": None},
    ]
    sent: list[dict[str, str]] = []

    def answer(request: web.BaseRequest) -> web.Response:
        if request.path != TOKEN:
            known = request.headers["authorization"] in {"Bearer tok-one-tok-one", "Bearer tok-three-tok"}
            return answer_well(request) if known and not refused else web.json_response({}, status=401)
        refused.clear()
        sent.append(dict(parse_qsl(peer.seen[-1].body.decode())))
        return web.json_response(answers.pop(0))

    refused: list[bool] = []
    async with Peer(answer) as peer:
        auth = OAuth("client", "secret-secret", "refresh-refresh")
        async with connect(peer, clock, api_key=None, auth=auth) as close:
            await close.emails.list()
            await clock.sleep(86_400)
            await close.emails.list()
            refused.append(True)
            await close.emails.list()
    assert auth.header() == "Bearer tok-three-tok"
    assert {form["refresh_token"] for form in sent} == {"refresh-refresh"}
    assert not answers


# Several processes ------------------------------------------------------------------------------------------------


async def test_a_guard_lets_processes_share_a_grant(clock: FakeClock, sim: Simulator) -> None:
    """Whoever finds a newer token in the store takes it over; in turn each refreshes by the newest one."""
    lock, stored = asyncio.Lock(), dict[str, OAuthToken]()

    @asynccontextmanager
    async def guard() -> AsyncIterator[OAuthToken | None]:
        async with lock:
            yield stored.get("token")

    def keep(token: OAuthToken) -> None:
        stored["token"] = token

    refresh_token = sim.oauth.grant()
    processes = [
        OAuth(sim.oauth.client_id, sim.oauth.client_secret, refresh_token, on_token=keep, guard=guard) for _ in range(5)
    ]
    for _ in range(3):
        for auth in processes:
            async with client_of(sim, clock, auth) as close:
                await close.emails.list()
        await clock.sleep(3600)
    assert sim.oauth.refreshes == 3


async def test_a_guard_that_fails_is_told(clock: FakeClock, sim: Simulator) -> None:
    """Nothing is sent where other processes cannot be kept off."""

    class NoLock(nullcontext[None]):
        async def __aenter__(self) -> None:
            raise OSError("no lock")

    async with client_of(sim, clock, make_auth(sim, guard=NoLock)) as close:
        with pytest.raises(TransportError, match="guard raised OSError: no lock"):
            await close.emails.list()
    assert not sim.requests


# Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "refresh_token", "access_token"])
@pytest.mark.parametrize("value", ["", "two words", "schlüssel", "a\r\nb"])
def test_what_cannot_be_a_secret_is_refused(missing: str, value: str) -> None:
    """The message names it and does not show it."""
    given: dict[str, Any] = {"client_id": "client", "client_secret": "secret", "refresh_token": "refresh"}
    with pytest.raises(InvalidRequestError, match=missing) as caught:
        OAuth(**{**given, missing: value})
    assert not value or value not in str(caught.value)


def test_a_naive_end_is_refused() -> None:
    """Nobody knows when it would be."""
    with pytest.raises(InvalidRequestError, match="aware"):
        OAuth("client", "secret", "refresh", access_token="access", expires_at=datetime(2025, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_a_token_can_be_stored() -> None:
    """`to_dict` has the tokens, and `from_dict` gives an equal one; its repr has none of them."""
    token = OAuthToken(access_token="tok-secret", refresh_token="ref-secret", expires_at=START, scope="all")
    assert OAuthToken.from_dict(token.to_dict()) == token
    assert token.to_dict()["access_token"] == "tok-secret"
    assert "secret" not in f"{token!r} {token} {[token]}"
    assert "scope='all'" in repr(token)
