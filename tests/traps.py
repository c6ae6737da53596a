"""An environment that leads astray whatever heeds it, for tests of what must not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs

from tests.cli.programs import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@attrs.define
class Trap:
    """A server in the place of Close and of a proxy, and an environment that leads there by every way."""

    env: dict[str, str]
    caught: list[str] = attrs.field(factory=list)


@asynccontextmanager
async def set_trap(folder: Path) -> AsyncIterator[Trap]:
    """A trap that notes every connection; `folder` is for its files."""

    async def catch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(str(writer.get_extra_info("peername")))
        writer.close()
        await writer.wait_closed()

    caught: list[str] = []
    server = await asyncio.start_server(catch, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    netrc = folder / "netrc"
    netrc.write_text("machine 127.0.0.1\nlogin api_real\npassword secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    proxies = {f"{name}_proxy": address for name in ("http", "https", "all")}
    env = environment(
        CLOSE_API_KEY="api_real",
        CLOSE_BASE_URL=f"{address}/api/v1",
        NETRC=str(netrc),
        **proxies,
        **{name.upper(): value for name, value in proxies.items()},
    )
    for name in ("no_proxy", "NO_PROXY"):
        env.pop(name, None)
    async with server:
        yield Trap(env, caught)
