"""The rules of the API that have nothing to do with bulk actions."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock

from .api import Api, basic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

LIST = "/bulk_action/email/"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("api_other"),
        {"authorization": "Bearer other"},
        {"authorization": "Bearer"},
        {"authorization": "nonsense"},
    ],
)
async def test_no_access_without_a_key(api: Api, headers: Mapping[str, str]) -> None:
    """A missing or wrong credential is a 401 with the service's body."""
    reply = await api.call("GET", LIST, headers=headers)
    assert (reply.status, reply.json()) == (401, {"error": "Unauthorized"})


async def test_a_password_beside_the_key_is_refused(api: Api) -> None:
    """The password of Basic authentication must be empty."""
    assert (await api.call("GET", LIST, headers=basic(api.sim.api_key, "x"))).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_bearer_token_gives_access(api: Api, scheme: str) -> None:
    """A known token is as good as the key, and the scheme's name may have any case."""
    assert (await api.call("GET", LIST, headers={"authorization": f"{scheme} token"})).status == 200


async def test_a_missing_slash_is_redirected(api: Api) -> None:
    """A path without its last slash is redirected to the one with it; the query stays."""
    reply = await api.get("/bulk_action/email?_limit=1&_fields=id")
    assert reply.status == 301
    assert reply.headers["location"] == "/api/v1/bulk_action/email/?_limit=1&_fields=id"


@pytest.mark.parametrize(("status", "answered"), [(308, 308), (None, 404)])
async def test_the_slash_rule_can_be_changed(api: Api, status: int | None, answered: int) -> None:
    """`slash_redirect` is the status of the redirect; None makes it a 404."""
    api.sim.slash_redirect = status
    assert (await api.get("/bulk_action/email")).status == answered


@pytest.mark.parametrize("path", ["/", "/bulk_action/", "/bulk_action/lead/", "/bulk_action/email/a/b/", "/export/a/"])
async def test_unknown_addresses(api: Api, path: str) -> None:
    """An address that the API does not have is a 404 with a JSON error."""
    reply = await api.get(path)
    assert reply.status == 404
    assert isinstance(reply.error(), str)


async def test_an_address_outside_the_base_path(api: Api) -> None:
    """Only what is below `/api/v1/` is served."""
    async with api.session.get(f"http://127.0.0.1:{api.sim.port}/me/", headers=basic(api.sim.api_key)) as response:
        assert response.status == 404


@pytest.mark.parametrize("kind", ["email", "delete"])
async def test_unknown_ids(api: Api, kind: str) -> None:
    """An id that does not exist, or is of another kind, is a 404."""
    job_id = await api.start("edit")
    for unknown in ("bulkemail_1", job_id):
        assert (await api.get(f"/bulk_action/{kind}/{unknown}/")).status == 404
        assert (await api.change(unknown, "paused", kind)).status == 404


async def test_wrong_methods(api: Api) -> None:
    """A POST to an item asks whether PUT was meant; other methods are a 405 that names those that are allowed."""
    job_id = await api.start()
    posted = await api.call("POST", f"{LIST}{job_id}/", json_body={})
    assert (posted.status, posted.error()) == (404, "Did you mean to use PUT?")
    deleted = await api.call("DELETE", f"{LIST}{job_id}/")
    assert (deleted.status, deleted.headers["allow"]) == (405, "GET, PUT")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_bodies_of_another_type(api: Api, content_type: str) -> None:
    """A body that is not declared as JSON is refused with the service's sentence."""
    headers = {**basic(api.sim.api_key), "content-type": content_type}
    reply = await api.call("POST", LIST, data=b"{}", headers=headers)
    assert reply.status == 400
    assert reply.error() == "Please send valid JSON with a 'Content-Type: application/json' header."


async def test_chunked_bodies(api: Api) -> None:
    """A chunked request is refused."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    headers = {**basic(api.sim.api_key), "content-type": "application/json; charset=utf-8"}
    reply = await api.call("POST", LIST, data=pieces(), headers=headers)
    assert (reply.status, reply.error()) == (400, "Chunked Transfer-Encoding is not supported.")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "The request contains invalid JSON."),
        (b"", "The request contains invalid JSON."),
        (b'{"results_limit": NaN}', "The request contains invalid JSON."),
        (b'{"results_limit": 1e999}', "The request contains invalid JSON."),
        (b"[" * 100_000, "The request contains invalid JSON."),
        (b"\xff", "The request contains invalid JSON."),
        (b"[]", "JSON data must be a dict."),
        (b"null", "JSON data must be a dict."),
    ],
)
async def test_bodies_that_are_no_json_object(api: Api, body: bytes, text: str) -> None:
    """What is not an object of finite JSON is refused, and starts nothing."""
    headers = {**basic(api.sim.api_key), "content-type": "application/json"}
    reply = await api.call("POST", LIST, data=body, headers=headers)
    assert (reply.status, reply.error()) == (400, text)
    assert not api.sim.jobs


async def test_a_number_in_exponent_spelling_is_fine(api: Api) -> None:
    """Finite numbers of any spelling pass."""
    job_id = await api.start("delete", s_query={"value": 1.5e3})
    assert (await api.read(job_id, "delete"))["s_query"] == {"value": 1500.0}


@pytest.mark.parametrize(("params", "n_rows"), [({"_limit": 2}, 2), (None, 3)])
async def test_a_post_can_stand_for_a_get(api: Api, params: object, n_rows: int) -> None:
    """With `x-http-method-override: GET` a POST reads, and its parameters are in the body."""
    for _ in range(3):
        await api.start()
    headers = {**basic(api.sim.api_key), "x-http-method-override": "GET"}
    reply = await api.call("POST", LIST, json_body={"_params": params}, headers=headers)
    assert len(reply.rows()) == n_rows
    assert len(api.sim.jobs) == 3


async def test_dates_are_of_the_simulators_clock(api: Api, clock: FakeClock) -> None:
    """The Date header shows virtual time."""
    await clock.sleep(86_400)
    assert (await api.get("/me/")).headers["date"] == "Thu, 12 Jun 2025 12:00:00 GMT"


@pytest.mark.parametrize(
    ("accept", "switch", "encoding"), [("gzip", True, "gzip"), ("gzip", False, None), ("", True, None)]
)
async def test_gzip(api: Api, accept: str, *, switch: bool, encoding: str | None) -> None:
    """A body is compressed for a client that accepts it, unless that is switched off."""
    api.sim.gzip = switch
    await api.start()
    headers = {**basic(api.sim.api_key), "accept-encoding": accept}
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        reply = await Api(sim=api.sim, clock=api.clock, session=session).call("GET", LIST, headers=headers)
    assert reply.headers.get("content-encoding") == encoding
    body = gzip.decompress(reply.body) if encoding else reply.body
    assert len(json.loads(body)["data"]) == 1


async def test_it_listens_on_loopback_only(sim: Simulator) -> None:
    """The base URL is on 127.0.0.1, and another loopback address at the same port does not answer."""
    assert sim.base_url == f"http://127.0.0.1:{sim.port}/api/v1"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", sim.port)


async def test_requests_are_kept(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """`requests` says what was asked, when, and how it was answered."""
    await clock.sleep(5)
    await api.create(sender="b@example.com")
    await api.get(f"{LIST}?_limit=1")
    posted, listed = sim.requests
    assert (posted.method, posted.path, posted.status, posted.at) == ("POST", f"/api/v1{LIST}", 200, clock.now())
    assert posted.json() == sim.jobs[0].request
    assert posted.headers["authorization"] == basic(sim.api_key)["authorization"]
    assert (listed.method, listed.query, listed.fault) == ("GET", {"_limit": "1"}, None)
    assert sim.api_key not in repr(sim)
    assert "authorization" not in repr(posted)


async def test_only_the_latest_requests_are_kept(clock: FakeClock) -> None:
    """`keep_requests` bounds what is remembered."""
    async with Simulator(clock=clock, keep_requests=2) as sim, aiohttp.ClientSession() as session:
        api = Api(sim=sim, clock=clock, session=session)
        for path in ("/a/", "/b/", "/me/"):
            await api.get(path)
        assert [request.path for request in sim.requests] == ["/api/v1/b/", "/api/v1/me/"]


async def test_a_request_may_be_forgotten_before_it_is_answered(clock: FakeClock) -> None:
    """Of more open requests than are kept, each gets its answer."""
    async with Simulator(clock=clock, keep_requests=1) as sim, aiohttp.ClientSession() as session:
        api = Api(sim=sim, clock=clock, session=session)
        sim.fail_next(faults.delay(5), times=2)
        replies = await asyncio.gather(api.get("/me/"), api.get("/me/"))
        assert [reply.status for reply in replies] == [200, 200]
        assert [request.status for request in sim.requests] == [200]


async def test_there_is_no_address_before_it_serves() -> None:
    """`base_url` of a simulator that is not served says so."""
    with pytest.raises(RuntimeError, match="async with"):
        Simulator().base_url  # noqa: B018 - the property is what raises


async def test_a_port_that_is_taken() -> None:
    """Entering raises OSError and leaves nothing behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            async with Simulator(port=taken.getsockname()[1]):
                pytest.fail("two servers on one port")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_can_go_away_and_come_back(clock: FakeClock) -> None:
    """Entered again it serves the same jobs at the same address."""
    sim = Simulator(clock=clock)
    async with sim, aiohttp.ClientSession() as session:
        first = sim.base_url
        job_id = await Api(sim=sim, clock=clock, session=session).start()
    async with sim, aiohttp.ClientSession() as session:
        assert sim.base_url == first
        assert (await Api(sim=sim, clock=clock, session=session).read(job_id))["id"] == job_id


async def test_equal_seeds_make_equal_ids(clock: FakeClock) -> None:
    """Ids depend on the seed only."""
    ids = []
    for seed in (1, 1, 2):
        sim = Simulator(clock=clock, seed=seed, id_prefixes={"email": "bulkact_"})
        async with sim, aiohttp.ClientSession() as session:
            ids.append(await Api(sim=sim, clock=clock, session=session).start())
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("bulkact_")


async def test_it_keeps_real_time_without_a_clock() -> None:
    """Without a clock the instants are the machine's."""
    async with Simulator() as sim, aiohttp.ClientSession() as session:
        api = Api(sim=sim, clock=FakeClock(), session=session)
        assert abs((sim.add_job("email").created_at - sim.clock.now()).total_seconds()) < 60
        await sim.clock.sleep(0)
        assert (await api.get("/me/")).status == 200


async def test_dropped_connections(api: Api, sim: Simulator) -> None:
    """`drop_connections` closes idle connections; the next request finds a new one."""
    await api.get("/me/")
    sim.drop_connections()
    await api.clock.settle()
    assert (await api.get("/me/")).status == 200
    Simulator().drop_connections()
