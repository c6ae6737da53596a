"""Services that know of vulnerabilities, of a few lines each, for pip-audit to ask."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Self

import attrs
from aiohttp import web


def plain_environment() -> dict[str, str]:
    """That of this process, without what measures coverage and what an outer make says.

    Nothing of the package runs in the many processes of an audit, and each would begin later for it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "MAKE", "MFLAGS"))}


def vulnerability(package: str, *, fixed: str) -> dict[str, Any]:
    """An entry that both services would answer with."""
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    return {
        "id": "PYSEC-2026-1",
        "aliases": ["CVE-2026-1"],
        "summary": "It does what it should not.",
        "affected": [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}],
        "fixed_in": [fixed],
    }


@attrs.define
class Database:
    """A database of vulnerabilities: what it has for a package, or the status that it refuses to speak of it with."""

    entries: Mapping[str, list[dict[str, Any]] | int] = attrs.field(factory=dict)
    url: str = ""
    asked: list[tuple[str, str]] = attrs.field(factory=list)
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/query", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/query"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())  # pip-audit says that it is a form
        name = asked["package"]["name"]
        self.asked.append((name, asked["version"]))
        known = self.entries.get(name, [])
        if isinstance(known, int):
            return web.Response(status=known)
        return web.json_response({"vulns": known} if known else {})


@attrs.define
class Index:
    """The package index, whose address pip-audit has fixed: reached as a proxy, over TLS, under whatever name it has.

    It knows the packages of `entries`, and answers 404 to all others.
    """

    folder: Path
    entries: Mapping[str, list[dict[str, Any]]]
    proxy: str = ""
    _server: asyncio.Server | None = attrs.field(default=None, init=False)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process ask here, and believe the answers."""
        return {"HTTPS_PROXY": self.proxy, "NO_PROXY": "", "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem")}

    async def __aenter__(self) -> Self:
        # Python 3.13 wants to be told what an authority's key is for.
        await self._certify("ca", "/CN=an authority", "-addext", "keyUsage=critical,keyCertSign")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.proxy = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _certify(self, name: str, subject: str, *more: str) -> None:
        made = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", subject)
        openssl = await asyncio.create_subprocess_exec(
            "openssl", "req", "-x509", *made, *more, cwd=self.folder, stderr=DEVNULL
        )
        assert await openssl.wait() == 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, _ = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition(":")
        name = f"leaf-{writer.get_extra_info('peername')[1]}"
        await self._certify(
            *(name, "/CN=a leaf", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{host}"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.start_tls(tls)
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked = re.fullmatch(r"/\w+/(.*)/(.*)/json", path)
        known = self.entries.get(asked[1]) if asked else None
        body = json.dumps({"vulnerabilities": known}).encode()
        status = b"404 Not Found" if known is None else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
