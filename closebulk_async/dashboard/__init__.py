"""A live page of bulk actions, for any aiohttp.web application: `dashboard.setup(app, close)`.

Extra: `closebulk-async[dashboard]`. The command `closebulk dashboard` serves it by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.dashboard.archive import Archive
from closebulk_async.dashboard.assets import read_assets
from closebulk_async.dashboard.board import Board
from closebulk_async.dashboard.feed import Feed
from closebulk_async.dashboard.fleet_feed import FleetFeed
from closebulk_async.dashboard.guards import Guard, add_headers
from closebulk_async.dashboard.hosts import check_hosts
from closebulk_async.dashboard.metrics import BoardCollector, Exposition
from closebulk_async.dashboard.publishing import Publisher
from closebulk_async.dashboard.routes import Routes
from closebulk_async.dashboard.sessions import Sessions, check_token
from closebulk_async.errors import InvalidRequestError
from closebulk_async.policy import Duration, to_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from prometheus_client import CollectorRegistry

    from closebulk_async.client import CloseBulk
    from closebulk_async.integrations.procrastinate import Fleet

__all__ = ["make_app", "setup"]


def setup(
    app: web.Application,
    close: CloseBulk,
    *,
    prefix: str = "/closebulk",
    allow_control: bool = False,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    registry: CollectorRegistry | None = None,
    clock: Clock | None = None,
    beat: Duration = 1.0,
) -> None:
    """Add the dashboard below a path, before the application starts. `close` is the application's to open and close.

    Who may see it is the application's to decide, unless a `token` is given: then the page asks for it, and machines
    send it as `Authorization: Bearer`. In any case a request must call this host by an address in digits, as
    `localhost` or by one of `allowed_hosts`, and only with `allow_control` actions can be paused and resumed.
    `registry` is one that `/metrics` shows as well, such as that of a `PrometheusHook` of the client's. Changes are
    shown every `beat` (a timedelta or seconds) at most. Raises InvalidRequestError.
    """
    path = prefix.rstrip("/") if isinstance(prefix, str) else ""
    if not path.startswith("/"):
        raise InvalidRequestError(f"prefix must be a path such as '/closebulk', and is {prefix!r}")
    sub_app = make_app(
        close,
        allow_control=allow_control,
        token=token,
        allowed_hosts=allowed_hosts,
        registry=registry,
        clock=clock,
        beat=beat,
        path=path,
    )
    app.add_subapp(path, sub_app)


def make_app(
    close: CloseBulk,
    *,
    allow_control: bool = False,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    registry: CollectorRegistry | None = None,
    clock: Clock | None = None,
    beat: Duration = 1.0,
    path: str = "/",
    fleet: Fleet | None = None,
    account: str = "default",
) -> web.Application:
    """The dashboard as an application of its own, with the keywords of `setup`.

    `path` is where a browser finds it, for the cookie of its session. With a `fleet` it shows what that polls for an
    organization, and sends no request of its own but those of buttons; `close` is then the fleet's client.
    """
    clock = clock or SystemClock()
    board = Board(now=clock.now())
    publisher = Publisher(board, clock=clock, beat=to_seconds(beat, name="beat"), limits=lambda: close.limits)
    guard = Guard(
        allowed_hosts=check_hosts(allowed_hosts),
        sessions=Sessions(check_token(token), clock=clock),
        allows_control=allow_control,
    )
    if fleet is None:
        feed = Feed(close, board, publisher, clock=clock)
    else:
        feed = FleetFeed(close, board, publisher, clock=clock, fleet=fleet, account=account)
    collector = BoardCollector(board, limits=lambda: close.limits, n_clients=lambda: publisher.n_clients)
    app = web.Application(middlewares=[guard.admit])
    app.on_response_prepare.append(add_headers)
    Routes(
        close=close,
        board=board,
        publisher=publisher,
        feed=feed,
        archive=Archive(close),
        guard=guard,
        exposition=Exposition(collector, registry),
        assets=read_assets(),
        path=path,
    ).add_to(app.router)

    async def end_streams(_: web.Application) -> None:
        await publisher.aclose()  # here already: a server that closes waits for its handlers

    async def follow(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(feed.run(), name="closebulk_async dashboard")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app.on_shutdown.append(end_streams)
    app.cleanup_ctx.append(follow)
    return app
