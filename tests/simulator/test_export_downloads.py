"""The store of the files of exports, as a client meets it."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from closebulk_async.simulator import DownloadFault, ExportRules, Simulator, download_faults, faults

from .api import Reply, basic
from .test_exports import start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.testing import FakeClock

    from .api import Api


async def finish(api: Api, **fields: Any) -> str:
    """Ask for an export and wait until it is done; the address of its file."""
    row = await start(api, **fields)
    await api.clock.advance(10)
    return await link_to(api, str(row["id"]))


async def link_to(api: Api, export_id: str) -> str:
    """A new address of the file."""
    return str((await api.get(f"/export/{export_id}/")).json()["download_url"])


async def download(
    api: Api, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, seconds: float = 60.0
) -> Reply:
    """What is at an address, as it is stored, within so much virtual time."""
    async with (
        api.clock.timeout(seconds),
        api.session.request(method, url, headers=headers, auto_decompress=False) as response,
    ):
        return Reply(response.status, response.headers, await response.read())


async def download_in_part(api: Api, url: str) -> bytes:
    """What comes before the connection fails, as it must."""
    received = bytearray()
    with pytest.raises(aiohttp.ClientPayloadError):
        async with api.clock.timeout(60), api.session.get(url, auto_decompress=False) as response:
            async for piece in response.content.iter_any():
                received += piece
    return bytes(received)


def packed(sim: Simulator) -> bytes:
    """The file of the only export as it is stored."""
    (export,) = sim.exports
    return b"".join(export.file.packed())


@pytest.mark.parametrize(("form", "content_type"), [("csv", "text/csv"), ("json", "application/json")])
async def test_a_file_is_gzip(api: Api, sim: Simulator, form: str, content_type: str) -> None:
    """A file comes packed and says so, with its type and length, whatever encodings the client asks for."""
    url = await finish(api, format=form)
    reply, other = [
        await download(api, url, headers={"accept-encoding": accepted}) for accepted in ("gzip", "identity")
    ]
    assert (reply.status, other.status, other.headers["content-encoding"]) == (200, 200, "gzip")
    assert (reply.headers["content-type"], reply.headers["content-encoding"]) == (content_type, "gzip")
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.body == other.body == packed(sim)
    text = gzip.decompress(reply.body).decode()
    rows = json.loads(text) if form == "json" else list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 100


async def test_the_leads_of_the_simulator_are_exported(api: Api, sim: Simulator) -> None:
    """Where there are leads, the file holds those that the query finds, or all of them."""
    leads = sim.add_leads(20, with_opportunities=True)
    query = {"type": "id", "value": leads[3].id}
    for s_query, expected in ((query, [leads[3].id]), (None, [lead.id for lead in leads])):
        reply = await download(api, await finish(api, s_query=s_query))
        rows = csv.DictReader(io.StringIO(gzip.decompress(reply.body).decode(), newline=""))
        assert sorted(row["id"] for row in rows) == sorted(expected)
    row = await start(api, "opportunity")
    await api.clock.advance(10)
    reply = await download(api, await link_to(api, str(row["id"])))
    rows = csv.DictReader(io.StringIO(gzip.decompress(reply.body).decode(), newline=""))
    known = {opportunity.id for lead in leads for opportunity in lead.opportunities}
    assert {row["id"] for row in rows} == known != set()


async def test_whole_leads_of_the_simulator(api: Api, sim: Simulator) -> None:
    """As JSON, a lead comes with its status by name, its contacts, and what a flag adds."""
    lead = sim.add_lead(
        name="ACME", status_id=sim.population.statuses["Customer"], addresses=[{"city": "Lyon", "country": "FR"}]
    )
    contact = sim.add_contact(lead, name="Ada", emails=["ada@example.com"])
    url = await finish(api, format="json", include_addresses=True, include_smart_fields=True)
    (row,) = json.loads(gzip.decompress((await download(api, url)).body))
    assert (row["id"], row["display_name"], row["status_label"], row["num_emails"]) == (lead.id, "ACME", "Customer", 1)
    assert row["addresses"][0]["location"] == "Lyon, FR"
    assert [(found["id"], found["email"]) for found in row["contacts"]] == [(contact.id, "ada@example.com")]
    assert "activities" not in row


async def test_the_store_is_another_origin(api: Api, sim: Simulator) -> None:
    """Files are at a port of their own, where the API is not."""
    url = urlsplit(await finish(api))
    assert url.netloc == f"127.0.0.1:{sim.download_port}" != urlsplit(sim.base_url).netloc
    assert (await download(api, f"http://{url.netloc}/api/v1/me/")).status == 403


async def test_a_key_is_refused(api: Api, sim: Simulator) -> None:
    """The store wants no `Authorization`, not even the right one, and says so in XML."""
    url = await finish(api)
    reply = await download(api, url, headers=basic(sim.api_key))
    assert (reply.status, reply.headers["content-type"]) == (400, "application/xml")
    assert b"<Code>InvalidArgument</Code>" in reply.body


async def test_links_expire(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """A link is good for its lifetime and then a 403; the export then has another, which is good."""
    sim.export_rules = ExportRules(link_lifetime=60)
    url = await finish(api)
    await clock.advance(59)
    assert (await download(api, url)).status == 200
    await clock.advance(1)
    reply = await download(api, url)
    assert (reply.status, b"<Message>Request has expired</Message>" in reply.body) == (403, True)
    fresh = await link_to(api, sim.exports[0].id)
    assert urlsplit(fresh)._replace(query="") == urlsplit(url)._replace(query="")
    assert (await download(api, fresh)).body == packed(sim)


async def test_each_response_has_a_link_of_its_own(api: Api, sim: Simulator) -> None:
    """Even at one instant no two responses have the same signature, and all links are good."""
    first = await finish(api)
    second = (await api.get("/export/")).rows()[0]["download_url"]
    assert first != second
    assert [(await download(api, str(url))).status for url in (first, second)] == [200, 200]
    assert len(sim.downloads) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [("Signature=", "Signature=0"), ("Expires=", "Expires=9"), (".csv?", ".json?"), ("Signature=", "x=")],
)
async def test_a_changed_link_is_refused(api: Api, old: str, new: str) -> None:
    """The signature is for this path and this time alone."""
    url = await finish(api)
    assert old in url
    reply = await download(api, url.replace(old, new))
    assert (reply.status, b"SignatureDoesNotMatch" in reply.body) == (403, True)


async def test_a_link_is_for_reading(api: Api) -> None:
    """It is signed for GET, and not even for HEAD."""
    url = await finish(api)
    assert [(await download(api, url, method=method)).status for method in ("HEAD", "PUT", "POST")] == [403] * 3


async def test_there_is_no_file_before_the_export_is_done(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """A link whose file is not there is a 404."""
    links = sim._service.exports.links  # noqa: SLF001 - the API gives no link to such a file
    for name in ("expo_x.csv", sim.add_export().file_name):
        reply = await download(api, links.make(name, now=clock.now(), lifetime=60))
        assert (reply.status, b"NoSuchKey" in reply.body) == (404, True)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-", 0, None), ("bytes=100-", 100, None), ("bytes=5-9", 5, 9), ("bytes=7-999999", 7, None)],
)
async def test_a_part_of_a_file(api: Api, sim: Simulator, asked: str, first: int, last: int | None) -> None:
    """A range is a 206 that says which part of how much it is; the part is packed as the whole is."""
    url = await finish(api)
    reply = await download(api, url, headers={"range": asked})
    whole = packed(sim)
    last = len(whole) - 1 if last is None else last
    assert (reply.status, reply.body) == (206, whole[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert (reply.headers["content-length"], reply.headers["content-encoding"]) == (str(last - first + 1), "gzip")
    assert reply.headers["accept-ranges"] == "bytes"


async def test_the_end_of_a_file(api: Api, sim: Simulator) -> None:
    """A range without a beginning is as much of the end."""
    url = await finish(api)
    assert (await download(api, url, headers={"range": "bytes=-8"})).body == packed(sim)[-8:]


@pytest.mark.parametrize("asked", ["lines=0-", "bytes=a-", "bytes=9-5", "bytes=-", "bytes=0-1,5-6"])
async def test_ranges_that_mean_nothing(api: Api, sim: Simulator, asked: str) -> None:
    """A range of another form is ignored."""
    reply = await download(api, await finish(api), headers={"range": asked})
    assert (reply.status, reply.body) == (200, packed(sim))


async def test_beyond_the_end(api: Api, sim: Simulator) -> None:
    """A range that begins at the end or later is a 416 that says how long the file is."""
    url = await finish(api)
    length = len(packed(sim))
    reply = await download(api, url, headers={"range": f"bytes={length}-"})
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{length}")
    assert (await download(api, url, headers={"range": f"bytes={length - 1}-"})).status == 206


async def test_a_part_of_the_same_file_only(api: Api) -> None:
    """`If-Range` with the file's ETag gives the part, with any other the whole."""
    url = await finish(api)
    etag = (await download(api, url)).headers["etag"]
    for condition in (etag, '"other"', f"W/{etag}", "Wed, 11 Jun 2025 12:00:10 GMT"):
        reply = await download(api, url, headers={"range": "bytes=1-", "if-range": condition})
        assert reply.status == (206 if condition == etag else 200), condition


async def test_a_store_without_ranges(api: Api, sim: Simulator) -> None:
    """Where parts cannot be had, nothing says so but their lack, and a range is answered with the whole."""
    sim.export_rules = ExportRules(accepts_ranges=False)
    reply = await download(api, await finish(api), headers={"range": "bytes=10-"})
    assert (reply.status, reply.body, "accept-ranges" in reply.headers) == (200, packed(sim), False)


async def test_a_store_without_lengths(api: Api, sim: Simulator) -> None:
    """A file without a length comes in chunks, and one that was cut is seen to be."""
    sim.export_rules = ExportRules(announces_length=False)
    url = await finish(api)
    reply = await download(api, url)
    assert ("content-length" in reply.headers, reply.body) == (False, packed(sim))
    sim.fail_next_download(download_faults.cut(after=50))
    assert await download_in_part(api, url) == packed(sim)[:50]


async def test_checksums(api: Api, sim: Simulator) -> None:
    """The ETag is by choice the MD5 of what is sent or none, and the whole file may come with its MD5."""
    url = await finish(api)
    md5 = hashlib.md5(packed(sim), usedforsecurity=False)
    headers = (await download(api, url)).headers
    assert ("content-md5" in headers, md5.hexdigest() in headers["etag"]) == (False, False)
    sim.export_rules = ExportRules(etag="md5", content_md5=True)
    headers = (await download(api, url)).headers
    assert headers["etag"] == f'"{md5.hexdigest()}"'
    assert headers["content-md5"] == base64.b64encode(md5.digest()).decode()
    assert "content-md5" not in (await download(api, url, headers={"range": "bytes=1-"})).headers
    sim.export_rules = ExportRules(etag=None)
    assert "etag" not in (await download(api, url)).headers


async def test_files_in_members(api: Api, sim: Simulator) -> None:
    """A file may be several gzip members in a row, which unpack to the same."""
    sim.export_rules = ExportRules(in_members=True)
    body = (await download(api, await finish(api))).body
    assert body.count(b"\x1f\x8b\x08") > 1
    assert gzip.decompress(body) == b"".join(sim.exports[0].file.unpacked())


async def test_a_cut_connection(api: Api, sim: Simulator) -> None:
    """So many bytes come of so many answers, counted from where each begins; then the file comes whole."""
    url = await finish(api)
    sim.fail_next_download(download_faults.cut(after=100), times=2)
    sim.fail_next_download(download_faults.cut(after=0))
    whole = packed(sim)
    assert [await download_in_part(api, url) for _ in range(3)] == [whole[:100], whole[:100], b""]
    assert (await download(api, url)).body == whole
    assert [(done.status, done.n_bytes, done.fault) for done in sim.downloads] == [
        *[(200, 100, "cut")] * 2,
        (200, 0, "cut"),
        (200, len(whole), None),
    ]


async def test_the_cut_part_of_a_part(api: Api, sim: Simulator) -> None:
    """Of a part that is cut, its first bytes come."""
    url = await finish(api)
    sim.fail_next_download(download_faults.stall(after=20))
    with pytest.raises(TimeoutError):
        await download(api, url, headers={"range": "bytes=30-"}, seconds=5)
    (done,) = sim.downloads
    assert (done.status, done.n_bytes, done.range) == (206, 20, "bytes=30-")


async def test_a_stalled_download(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Some bytes come, then nothing, until the client gives up."""
    url = await finish(api)
    sim.fail_next_download(download_faults.stall(after=10))
    started = clock.monotonic()
    with pytest.raises(TimeoutError):
        await download(api, url, seconds=30)
    assert clock.monotonic() - started == 30
    assert sim.downloads[0].n_bytes == 10


@pytest.mark.parametrize("by", [1, 1000])
async def test_a_length_that_is_too_large(api: Api, sim: Simulator, by: int) -> None:
    """All of the file comes, and the client is told to wait for more."""
    url = await finish(api)
    sim.fail_next_download(download_faults.wrong_length(by))
    assert await download_in_part(api, url) == packed(sim)


async def test_a_length_that_is_too_small(api: Api, sim: Simulator) -> None:
    """The answer looks whole; that the file is not, only its gzip tells."""
    url = await finish(api)
    sim.fail_next_download(download_faults.wrong_length(-30))
    reply = await download(api, url)
    assert (reply.status, reply.body) == (200, packed(sim)[:-30])
    with pytest.raises(EOFError):
        gzip.decompress(reply.body)


@pytest.mark.parametrize(("at", "first"), [(0, 0), (500, 0), (500, 500), (500, 501)])
async def test_a_corrupt_byte(api: Api, sim: Simulator, at: int, first: int) -> None:
    """One byte of the file differs, wherever the answer begins, and no other."""
    url = await finish(api)
    sim.fail_next_download(download_faults.corrupt(at))
    body = (await download(api, url, headers={"range": f"bytes={first}-"})).body
    pairs = enumerate(zip(body, packed(sim)[first:], strict=True), first)
    assert [place for place, (found, expected) in pairs if found != expected] == ([at] if at >= first else [])


async def test_a_slow_download(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """The file comes in pieces over the whole duration, and is the same."""
    url = await finish(api)
    sim.fail_next_download(download_faults.slow(40))
    started = clock.monotonic()
    assert (await download(api, url)).body == packed(sim)
    assert clock.monotonic() - started == 40


async def test_ranges_that_go_wrong(api: Api, sim: Simulator) -> None:
    """A range may be ignored once, or answered with another part, which the answer says."""
    url = await finish(api)
    whole = packed(sim)
    sim.fail_next_download(download_faults.ignored_range())
    sim.fail_next_download(download_faults.misplaced_range(5))
    replies = [await download(api, url, headers={"range": "bytes=100-"}) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, whole), (206, whole[105:])]
    assert replies[1].headers["content-range"] == f"bytes 105-{len(whole) - 1}/{len(whole)}"


async def test_faults_of_any_request(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Faults that replace, delay or cut an answer serve for downloads as well; `skip` and `times` count downloads."""
    url = await finish(api)
    sim.fail_next_download(faults.server_error(503), skip=1, times=2)
    assert [(await download(api, url)).status for _ in range(4)] == [200, 503, 503, 200]
    sim.fail_next_download(faults.delay(20))
    started = clock.monotonic()
    assert (await download(api, url)).status == 200
    assert clock.monotonic() - started == 20
    # The client asks once more by itself where a connection that was open before is closed.
    sim.fail_next_download(faults.cut_before(), times=2)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await download(api, url)
    sim.fail_next_download(faults.slow_body(8, pieces=2))
    assert (await download(api, url)).body == packed(sim)
    assert clock.monotonic() - started == 28
    sim.fail_next_download(faults.hang())
    with pytest.raises(TimeoutError):
        await download(api, url, seconds=5)
    assert [done.fault for done in sim.downloads[4:]] == ["delay", *["cut_before"] * 2, "slow_body", "hang"]


@pytest.mark.parametrize(
    "fault", [faults.altered(id="x"), faults.broken_json(), faults.huge_body(5), faults.truncated_body()]
)
def test_faults_that_no_download_can_meet(fault: faults.Fault) -> None:
    """What a fault does to JSON cannot be done to a file, and `download_faults` has its like."""
    with pytest.raises(ValueError, match=fault.name):
        Simulator().fail_next_download(fault)


def test_a_file_in_no_pieces() -> None:
    """There is always a piece."""
    with pytest.raises(ValueError, match="piece"):
        DownloadFault(name="none", pieces=0)


async def test_faults_keep_to_their_requests(api: Api, sim: Simulator) -> None:
    """Faults of downloads spare the API, those of the API spare downloads, and both can be cleared."""
    url = await finish(api)
    sim.fail_next_download(download_faults.cut(after=0), times=None)
    sim.fail_next(faults.server_error(), times=None)
    assert (await api.get("/me/")).status == 502
    assert await download_in_part(api, url) == b""
    sim.clear_faults()
    assert ((await api.get("/me/")).status, (await download(api, url)).status) == (200, 200)
    assert len(sim.downloads) == 2


async def test_the_log_of_downloads(sim: Simulator, api: Api, clock: FakeClock) -> None:
    """Each request for a file is remembered as it came; neither the signature nor headers are in its text."""
    url = await finish(api)
    await download(api, url, headers={"Range": "bytes=5-", "X-Test": "secret-header"})
    (done,) = sim.downloads
    assert (done.headers["x-test"], done.range, done.at, done.status) == ("secret-header", "bytes=5-", clock.now(), 206)
    assert done.path == urlsplit(url).path
    assert "secret-header" not in repr(done)
    assert urlsplit(url).query.rpartition("=")[2] not in repr(done)


async def test_left_and_entered_again(clock: FakeClock) -> None:
    """A simulator that is served again serves the same files at the same port, by the links that it gave before."""
    sim = Simulator(clock=clock)
    async with aiohttp.ClientSession() as session, sim:
        export = sim.add_export(age=100)
        async with session.get(f"{sim.base_url}/export/{export.id}/", headers=basic(sim.api_key)) as response:
            url = (await response.json())["download_url"]
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
        async with sim, session.get(url) as response:
            assert response.status == 200


async def test_a_port_that_is_taken() -> None:
    """A simulator whose port for files is not free does not keep the other one either."""
    async with Simulator() as sim:
        other = Simulator(download_port=sim.download_port)
        with pytest.raises(OSError, match="in use"):
            await other.__aenter__()
        async with Simulator(port=other.port):
            pass


async def test_a_client_that_leaves(api: Api, sim: Simulator) -> None:
    """A download that is left in the middle ends at the server too, and the next one is whole."""
    sim.next_export(size=20_000_000, level=0)
    url = await finish(api)
    async with api.clock.timeout(60), api.session.get(url) as response:
        await response.content.readexactly(10)
        response.close()
    await api.clock.settle()
    assert sim.downloads[0].n_bytes < 20_000_000
    assert len((await download(api, url)).body) == sim.exports[0].file.length


async def test_connections_are_dropped(api: Api, sim: Simulator) -> None:
    """Dropping all connections ends downloads that are open."""
    url = await finish(api)
    sim.fail_next_download(download_faults.stall(after=10))
    async with api.session.get(url) as response:
        sim.drop_connections()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_large_file_takes_little_memory(api: Api, sim: Simulator) -> None:
    """The memory of a download of 64 MB is that of its pieces, at the server and at a client that keeps nothing."""
    sim.next_export(size=64_000_000, level=0)
    url = await finish(api)
    length = sim.exports[0].file.length
    tracemalloc.start()
    try:
        received = 0
        async with api.clock.timeout(60), api.session.get(url, auto_decompress=False) as response:
            async for piece in response.content.iter_any():
                received += len(piece)
        assert received == length > 64_000_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
