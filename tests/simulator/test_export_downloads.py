"""The files of exports."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any

from .api import Api, Reply
from .test_exports import start

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator


async def finish(api: Api, **fields: Any) -> str:
    """Ask for an export and wait until it is done; the address of its file."""
    row = await start(api, **fields)
    await api.clock.advance(10)
    return await link_to(api, str(row["id"]))


async def link_to(api: Api, export_id: str) -> str:
    """A new address of the file."""
    return str((await api.get(f"/export/{export_id}/")).json()["download_url"])


async def download(api: Api, url: str, **headers: str) -> Reply:
    """The file at an address, as it is stored."""
    async with (
        api.clock.timeout(600),
        api.session.get(url, headers=headers, auto_decompress=False) as response,
    ):
        return Reply(response.status, response.headers, await response.read())


async def test_a_file_is_gzip(api: Api, sim: Simulator) -> None:
    """A CSV file comes packed and says so, with its length, and has a row for each lead beside its head."""
    url = await finish(api)
    reply = await download(api, url)
    (export,) = sim.exports
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/csv"
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["content-length"] == str(len(reply.body)) == str(export.file.length)
    text = gzip.decompress(reply.body)
    assert text == b"".join(export.file.unpacked())
    assert len(list(csv.DictReader(io.StringIO(text.decode(), newline="")))) == 100
