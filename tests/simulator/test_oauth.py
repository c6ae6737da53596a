"""The app of an organization: how tokens are had, renewed and lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from closebulk_async.simulator import Limits, OAuthRules, faults

from .api import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.testing import FakeClock

    from .api import Api, Row

GRANTED = "https://app.example.com/granted"


async def ask(api: Api, path: str, *, method: str = "POST", **request: object) -> Reply:
    """One request at the origin of the API, without a key; redirects are not followed."""
    origin = api.sim.base_url.removesuffix("/api/v1")
    async with (
        api.clock.timeout(60),
        api.session.request(method, origin + path, allow_redirects=False, **request) as response,  # type: ignore[arg-type]  # keywords of aiohttp's, passed through
    ):
        return Reply(response.status, response.headers, await response.read())


def form(api: Api, **fields: str) -> dict[str, str]:
    """A form that proves who the app is."""
    return {"client_id": api.sim.oauth.client_id, "client_secret": api.sim.oauth.client_secret, **fields}


async def issue(api: Api, **fields: str) -> Reply:
    """Ask for tokens: with a code or a refresh token."""
    kind = "authorization_code" if "code" in fields else "refresh_token"
    return await ask(api, "/oauth2/token/", data=form(api, **{"grant_type": kind, **fields}))


async def authorize(api: Api, **query: str) -> tuple[str, Mapping[str, str]]:
    """Where the authorization page sends the browser, and with what."""
    known = {"client_id": api.sim.oauth.client_id, "response_type": "code", "redirect_uri": GRANTED}
    reply = await ask(api, "/oauth2/authorize/", method="GET", params={**known, **query})
    assert reply.status == 302, reply
    address, _, told = reply.headers["location"].partition("?")
    return address, dict(parse_qsl(told, strict_parsing=True))


async def me(api: Api, token: object) -> Reply:
    """A request to the API with an access token."""
    return await api.call("GET", "/me/", headers={"authorization": f"Bearer {token}"})


def refused(reply: Reply) -> tuple[int, object]:
    """Status and word of a refusal."""
    return reply.status, reply.error()


async def test_a_code_is_exchanged_for_tokens_that_open_the_api(api: Api) -> None:
    """The answer has the documented keys, and its access token is as good as a key."""
    row = (await issue(api, code=api.sim.oauth.make_code())).json()
    access, refresh = row.pop("access_token"), row.pop("refresh_token")
    assert row == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "all.full_access offline_access",
        "organization_id": api.sim.organization_id,
        "user_id": api.sim.user_id,
    }
    assert (await me(api, access)).json()["id"] == api.sim.user_id
    assert (await me(api, refresh)).status == 401
    (issued,) = api.sim.oauth.tokens
    assert (issued.access_token, issued.refresh_token) == (access, refresh)
    assert str(access) not in repr(issued)
    assert str(refresh) not in repr(issued)


async def test_an_access_token_expires_by_the_clock(api: Api, clock: FakeClock) -> None:
    """It opens the API until the last moment of its time, and is a 401 from then on; a refresh token outlives it."""
    api.sim.oauth_rules = OAuthRules(expires_in=60)
    row = (await issue(api, refresh_token=api.sim.oauth.grant())).json()
    assert row["expires_in"] == 60
    await clock.advance(59)
    assert (await me(api, row["access_token"])).status == 200
    await clock.advance(1)
    assert refused(await me(api, row["access_token"])) == (401, "Unauthorized")
    assert (await issue(api, refresh_token=str(row["refresh_token"]))).status == 200


async def test_all_access_tokens_can_be_made_to_expire(api: Api) -> None:
    """After that the API refuses those that were issued, and lets in the next."""
    refresh = api.sim.oauth.grant()
    first = (await issue(api, refresh_token=refresh)).json()
    api.sim.oauth.expire_tokens()
    assert (await me(api, first["access_token"])).status == 401
    second = (await issue(api, refresh_token=str(first["refresh_token"]))).json()
    assert (await me(api, second["access_token"])).status == 200


async def test_a_refresh_token_is_good_once(api: Api) -> None:
    """The next one comes with the answer, the old one is refused from then on; the exchange of a code is no refresh."""
    old = api.sim.oauth.grant()
    await issue(api, code=api.sim.oauth.make_code())
    new = str((await issue(api, refresh_token=old)).json()["refresh_token"])
    assert new != old
    assert refused(await issue(api, refresh_token=old)) == (400, "invalid_grant")
    assert (await issue(api, refresh_token=new)).status == 200
    assert api.sim.oauth.refreshes == 2
    assert [issued.grant_type for issued in api.sim.oauth.tokens] == ["authorization_code", *["refresh_token"] * 2]


async def test_of_refreshes_at_once_one_succeeds(api: Api) -> None:
    """A token that many exchange at the same time is exchanged once."""
    token = api.sim.oauth.grant()
    replies = await asyncio.gather(*(issue(api, refresh_token=token) for _ in range(10)))
    assert sorted(reply.status for reply in replies) == [200, *[400] * 9]
    assert api.sim.oauth.refreshes == 1


@pytest.mark.parametrize("ends", [False, True])
async def test_reuse_may_end_the_grant(api: Api, *, ends: bool) -> None:
    """Where the rule says so, the use of a replaced token takes all others of its grant with it, and of no other."""
    api.sim.oauth_rules = OAuthRules(reuse_revokes_grant=ends)
    old, other = api.sim.oauth.grant(), api.sim.oauth.grant()
    row = (await issue(api, refresh_token=old)).json()
    assert refused(await issue(api, refresh_token=old)) == (400, "invalid_grant")
    assert (await me(api, row["access_token"])).status == (401 if ends else 200)
    assert (await issue(api, refresh_token=str(row["refresh_token"]))).status == (400 if ends else 200)
    assert (await issue(api, refresh_token=other)).status == 200


async def test_an_answer_may_be_lost_after_the_rotation(api: Api) -> None:
    """A fault of the token endpoint leaves the client with a token that was replaced."""
    token = api.sim.oauth.grant()
    api.sim.fail_next(faults.server_error(502, acts=True), path="/oauth2/token/")
    assert (await issue(api, refresh_token=token)).status == 502
    assert refused(await issue(api, refresh_token=token)) == (400, "invalid_grant")
    assert api.sim.oauth.refreshes == 1


async def test_without_offline_access_there_is_no_refresh_token(api: Api) -> None:
    """Such a scope is told, and the access token is all that there is."""
    api.sim.oauth_rules = OAuthRules(scope="all.full_access")
    row = (await issue(api, code=api.sim.oauth.make_code())).json()
    assert row["scope"] == "all.full_access"
    assert "refresh_token" not in row
    assert (await me(api, row["access_token"])).status == 200


async def test_a_code_is_good_once_and_not_for_long(api: Api, clock: FakeClock) -> None:
    """A second exchange, one that comes too late, and one of an invented code are all refused."""
    api.sim.oauth_rules = OAuthRules(code_lives_for=10)
    used, late, timely = (api.sim.oauth.make_code() for _ in range(3))
    assert (await issue(api, code=used)).status == 200
    assert refused(await issue(api, code=used)) == (400, "invalid_grant")
    await clock.advance(9)
    assert (await issue(api, code=timely)).status == 200
    await clock.advance(1)
    assert refused(await issue(api, code=late)) == (400, "invalid_grant")
    assert refused(await issue(api, code="invented")) == (400, "invalid_grant")


async def test_revoking_ends_the_grant(api: Api) -> None:
    """Neither kind of token of the grant is good after that; revoking again, or what is unknown, is no error."""
    row = (await issue(api, refresh_token=api.sim.oauth.grant())).json()
    token = str(row["refresh_token"])
    for sent in (token, token, "invented"):
        reply = await ask(api, "/oauth2/revoke/", data=form(api, token=sent))
        assert (reply.status, reply.json()) == (200, {})
    assert refused(await issue(api, refresh_token=token)) == (400, "invalid_grant")
    assert (await me(api, row["access_token"])).status == 401


async def test_revoking_an_access_token_changes_nothing(api: Api) -> None:
    """Only refresh tokens can be revoked."""
    row = (await issue(api, refresh_token=api.sim.oauth.grant())).json()
    await ask(api, "/oauth2/revoke/", data=form(api, token=str(row["access_token"])))
    assert (await me(api, row["access_token"])).status == 200
    assert (await issue(api, refresh_token=str(row["refresh_token"]))).status == 200


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"refresh_token": "invented"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code"}, 400, "invalid_request"),
    ],
)
async def test_what_the_token_endpoint_refuses(api: Api, changes: Row, status: int, word: str) -> None:
    """A form that lacks something or proves nothing is refused and uses nothing up."""
    token = api.sim.oauth.grant()
    body = {**form(api, grant_type="refresh_token", refresh_token=token), **changes}
    assert refused(await ask(api, "/oauth2/token/", data=body)) == (status, word)
    assert not api.sim.oauth.tokens
    assert (await issue(api, refresh_token=token)).status == 200


async def test_secrets_belong_into_a_form_in_the_body(api: Api) -> None:
    """The same fields as JSON, in the address or with a parameter twice are refused."""
    fields = form(api, grant_type="refresh_token", refresh_token=api.sim.oauth.grant())
    for request in (
        {"json": fields},
        {"params": fields},
        {"params": fields, "data": {"grant_type": "refresh_token"}},
        {"data": [*fields.items(), ("grant_type", "refresh_token")]},
    ):
        assert (await ask(api, "/oauth2/token/", **request)).status in (400, 401)
    assert refused(await ask(api, "/oauth2/token/", json=fields)) == (400, "invalid_request")
    assert refused(await ask(api, "/oauth2/revoke/", json=fields)) == (400, "invalid_request")
    assert not api.sim.oauth.tokens


async def test_the_authorization_page_sends_a_code(api: Api) -> None:
    """The browser goes back at once with a code that works, and with the state of the request if it had one."""
    address, told = await authorize(api, state="a state & more")
    assert (address, sorted(told), told["state"]) == (GRANTED, ["code", "state"], "a state & more")
    assert (await issue(api, code=told["code"])).status == 200
    _, told = await authorize(api)
    assert told.keys() == {"code"}


async def test_the_user_may_say_no(api: Api) -> None:
    """Then there is an error in place of the code; so there is for a response type that is not `code`."""
    assert await authorize(api, response_type="token", state="s") == (
        GRANTED,
        {"error": "unsupported_response_type", "state": "s"},
    )
    api.sim.oauth_rules = OAuthRules(denies=True)
    assert await authorize(api, state="s") == (GRANTED, {"error": "access_denied", "state": "s"})


async def test_an_address_of_its_own_keeps_its_query(api: Api) -> None:
    """What the address asks for itself stays, and the code comes behind it."""
    _, told = await authorize(api, redirect_uri=f"{GRANTED}?tenant=1")
    assert list(told) == ["tenant", "code"]


async def test_the_browser_is_sent_to_the_apps_address_alone(api: Api) -> None:
    """Without a registered address any will do but one is needed; with one it is the default, and no other is taken."""
    client = {"client_id": api.sim.oauth.client_id, "response_type": "code"}
    for query in (client, {**client, "client_id": "wrong", "redirect_uri": GRANTED}):
        assert (await ask(api, "/oauth2/authorize/", method="GET", params=query)).status in (400, 401)
    api.sim.oauth_rules = OAuthRules(redirect_uri=GRANTED)
    reply = await ask(api, "/oauth2/authorize/", method="GET", params=client)
    assert urlsplit(reply.headers["location"]).hostname == "app.example.com"
    other = {**client, "redirect_uri": "https://elsewhere.example.com"}
    assert refused(await ask(api, "/oauth2/authorize/", method="GET", params=other)) == (400, "invalid_request")


async def test_methods_and_paths(api: Api) -> None:
    """Tokens are had by POST, an unknown path is a 404, and none of it is part of the API below its base path."""
    assert (await ask(api, "/oauth2/token/", method="GET")).status == 405
    assert (await ask(api, "/oauth2/authorize/")).headers["allow"] == "GET"
    assert (await ask(api, "/oauth2/other/")).status == 404
    assert (await api.call("POST", "/oauth2/token/")).status == 404


async def test_tokens_are_counted_like_keys_and_their_issue_is_not(api: Api) -> None:
    """Requests with an access token have the limits of a key; the token endpoint has and shows none."""
    api.sim.limits = Limits(rate=1, window=8)
    reply = await issue(api, refresh_token=api.sim.oauth.grant())
    assert "ratelimit" not in reply.headers
    access = reply.json()["access_token"]
    statuses = [(await me(api, access)).status for _ in range(9)]
    assert statuses == [*[200] * 8, 429]
