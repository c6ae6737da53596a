"""Serve the dashboard: who may reach it, where it is found, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from os import PathLike
from typing import TYPE_CHECKING

import attrs
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry

from closebulk_async.cli.clients import connect
from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.views import print_json
from closebulk_async.dashboard import make_app
from closebulk_async.dashboard.hosts import is_address, is_loopback
from closebulk_async.integrations.prometheus import PrometheusHook
from closebulk_async.policy import PollPolicy

if TYPE_CHECKING:
    from closebulk_async.integrations.procrastinate import Fleet

TOKEN_VARIABLE = "CLOSEBULK_DASHBOARD_TOKEN"  # noqa: S105 - the name of what holds it

POLL = PollPolicy(ceiling=10.0)
"""A page that is left open for days is looked at now and then: half a minute is long for that, a second too short."""

STOP_SECONDS = 2.0
"""How long answers that are under way may take when it ends. Streams end at once."""

ENDED = "the dashboard has ended; this changes nothing at Close, and what runs there goes on"

HINT = """\
others can reach this address, and what they send is not encrypted. To put TLS in front of it, with Caddy:
  dash.example.com {{
    reverse_proxy 127.0.0.1:{port}
  }}
or in a server of nginx, which must not hold back what is streamed:
  location / {{
    proxy_pass http://127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_buffering off;
  }}
and without --host: {variable}=... closebulk dashboard --port {port} --allow-host dash.example.com"""


@attrs.frozen(kw_only=True)
class Serving:
    """One run of the command."""

    host: str
    port: int
    journal: PathLike[str] | None
    allows_control: bool
    allowed_hosts: Sequence[str]
    as_json: bool
    shows_fleet: bool = False

    def run(self) -> ExitCode:
        """Serve until somebody ends it: with Ctrl-C, or with SIGTERM as a manager of services does."""
        try:
            code = asyncio.run(self._run())
        except KeyboardInterrupt:
            complain(f"interrupted; {ENDED}")
            return ExitCode.INTERRUPTED
        if code is ExitCode.DONE:
            complain(ENDED)
        return code

    async def _run(self) -> ExitCode:
        registry, given = CollectorRegistry(), os.environ.get(TOKEN_VARIABLE, "").strip()
        # A name that is allowed is that of a proxy, behind which others are.
        is_private = is_loopback(self.host) and not self.allowed_hosts
        token = given or (None if is_private else secrets.token_urlsafe(32))
        async with AsyncExitStack() as stack:
            fleet = await self._open_fleet(stack) if self.shows_fleet else None
            if fleet is None:
                close = connect(journal=self.journal, hooks=[PrometheusHook(registry=registry)], poll=POLL)
                await stack.enter_async_context(close)
            else:
                close = await fleet.client()
            app = make_app(
                close,
                fleet=fleet,
                allow_control=self.allows_control,
                token=token,
                allowed_hosts=[*self.allowed_hosts, *self._own_names()],
                registry=registry,
            )
            # Nothing that is sent here is compressed: what is, is no login, and may be a bomb.
            runner = web.AppRunner(
                app, access_log=None, logger=_server_logger(), shutdown_timeout=STOP_SECONDS, auto_decompress=False
            )
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            try:
                await web.TCPSite(runner, self.host, self.port).start()
            except OSError as exc:
                complain(f"cannot listen on {self.host}, port {self.port}: {_reason(exc)}")
                return ExitCode.USAGE
            port = runner.addresses[0][1]
            self._announce(port, token=None if given else token, is_private=is_loopback(self.host))
            await _wait_for_term()
        return ExitCode.DONE

    async def _open_fleet(self, stack: AsyncExitStack) -> Fleet:
        from closebulk_async.cli.fleet_sides import open_fleet

        return await stack.enter_async_context(open_fleet())

    def _own_names(self) -> Sequence[str]:
        """A name on which it listens is one by which it is called."""
        return () if is_address(self.host) else (self.host,)

    def _announce(self, port: int, *, token: str | None, is_private: bool) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.as_json:
            print_json({"url": f"http://{host}:{port}/"})
        else:
            print(f"http://{host}:{port}/ shows what runs. Ctrl-C ends it.", flush=True)
        if token is not None:
            complain(f"this address needs a token ({TOKEN_VARIABLE} sets another): {token}")
        if not is_private:
            for line in HINT.format(port=port, variable=TOKEN_VARIABLE).splitlines():
                complain(line)


def _reason(exc: OSError) -> str:
    """What went wrong, without the address, which asyncio says once more."""
    return os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else str(exc)


def _server_logger() -> logging.Logger:
    """Where aiohttp writes of its mistakes. Bytes that are no request are their sender's, who could fill a log so."""
    logger = logging.getLogger("closebulk_async.server")
    logger.addFilter(_is_own_mistake)
    return logger


def _is_own_mistake(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _wait_for_term() -> None:
    stop = asyncio.Event()
    with suppress(NotImplementedError):  # on Windows there is no such signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
