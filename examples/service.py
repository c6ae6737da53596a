"""An asyncio service that starts bulk emails, hears of their ends by webhooks, and goes on after a crash.

    python examples/service.py
    curl -X PUT http://127.0.0.1:8080/campaigns/autumn -d '{"company": "ACME Inc."}' -H 'Content-Type: application/json'
    curl http://127.0.0.1:8080/campaigns/autumn

With `--live` it needs CLOSE_API_KEY, the address at which Close reaches this service, and what a bulk email is made of.
It listens on 127.0.0.1: put what does TLS and logins in front.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from _simulator import connect, make_parser, number, open_folder
from aiohttp import web

from closebulk_async import (
    ClientClosedError,
    CloseBulk,
    CloseBulkError,
    IdempotencyConflictError,
    InvalidRequestError,
    PollPolicy,
    Progress,
    UnsafeQueryError,
    lead,
    webhooks,
)

if TYPE_CHECKING:
    from closebulk_async import BulkAction, JobRef, Webhook

KEPT = 1000
"""Campaigns of which this process tells how far they are: the newest."""

logger = logging.getLogger("service")


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = make_parser(__doc__)
    parser.add_argument("--port", type=int, default=8080, help="where to listen; 0 takes any free port")
    parser.add_argument("--public-url", help="where Close reaches this service")
    parser.add_argument("--folder", type=Path, default=Path("closebulk-service"), help="with --live: keeps the files")
    parser.add_argument("--poll-every", type=number, help="seconds between polls, where webhooks are trusted")
    parser.add_argument("--template-id")
    parser.add_argument("--email-account-id")
    options = parser.parse_args()
    if options.live and not (options.public_url and options.template_id and options.email_account_id):
        parser.error("--live needs --public-url, --template-id and --email-account-id")
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> None:
    """Open everything, from the inside out, and close it in the other order."""
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    poll = None if options.poll_every is None else PollPolicy.fixed(options.poll_every)
    # The socket comes first: the subscription needs its port, and a webhook that comes early waits in its queue.
    with open_folder(options, live=options.folder) as folder, socket.create_server(("127.0.0.1", options.port)) as sock:
        url = options.public_url or f"http://127.0.0.1:{sock.getsockname()[1]}"
        # The group is outside: closing the client ends the waits, which never touches the actions.
        async with asyncio.TaskGroup() as group, connect(options, journal=folder / "journal.db", poll=poll) as close:
            campaigns = Campaigns(close=close, group=group, options=options)
            webhook = await subscribe(close, f"{url}/close/webhook", kept=folder / "webhook.key")
            app = web.Application()
            app.add_routes([web.put("/campaigns/{key}", campaigns.put), web.get("/campaigns/{key}", campaigns.get)])
            webhooks.setup(app, close, signature_key=webhook.signature_key)
            runner = web.AppRunner(app)
            await runner.setup()
            try:
                await web.SockSite(runner, sock).start()
                logger.info("serving on %s", url)
                group.create_task(campaigns.recover())  # beside requests: to settle a doubtful start takes a while
                await stopped.wait()
            finally:
                await runner.cleanup()  # takes no new requests, and answers those that are under way
    logger.info("stopped")


async def subscribe(close: CloseBulk, url: str, *, kept: Path) -> Webhook:
    """The subscription of this service. Its key is kept, because Close may show it only once."""
    key = read_key(kept)
    webhook = await close.webhooks.ensure(url, signature_key=key)
    if webhook.signature_key != key:
        keep_key(kept, webhook.signature_key)
    return webhook


def read_key(kept: Path) -> str | None:
    """The key that an earlier run has kept."""
    return kept.read_text() if kept.exists() else None


def keep_key(kept: Path, key: str) -> None:
    """Keep a key; nobody else may read it."""
    kept.touch(mode=0o600)
    kept.write_text(key)


@attrs.define(kw_only=True)
class Campaigns:
    """The bulk emails of this service by their idempotency keys, and how far each is."""

    close: CloseBulk
    group: asyncio.TaskGroup
    options: argparse.Namespace
    progress: dict[str, Progress[Any]] = attrs.field(factory=dict)
    following: set[str] = attrs.field(factory=set)

    async def put(self, request: web.Request) -> web.Response:
        """Start one. PUT with the same key and body gives the same action again, also after a crash."""
        key = request.match_info["key"]
        try:
            company = (await request.json())["company"]
        except (ValueError, TypeError, LookupError):
            raise web.HTTPBadRequest(text='send {"company": "..."}') from None
        try:
            action = await self.close.emails.create(
                template_id=self.options.template_id or "tmpl_demo",
                email_account_id=self.options.email_account_id or "emailacct_demo",
                contact_preference="lead",
                s_query=lead.name.full_words(company),
                send_done_email=False,
                idempotency_key=key,
            )
        except IdempotencyConflictError as exc:
            raise web.HTTPConflict(text=str(exc)) from None
        except (InvalidRequestError, UnsafeQueryError) as exc:
            raise web.HTTPBadRequest(text=str(exc)) from None
        except CloseBulkError as exc:
            # Nobody has to know whether it was started: the same PUT again finds out, and never starts a second one.
            raise web.HTTPServiceUnavailable(text=str(exc)) from None
        self.follow(key, action.ref)
        return web.json_response({"key": key, "ref": str(action.ref)}, status=202)

    async def get(self, request: web.Request) -> web.Response:
        """How far it is, without a request to Close: this process follows all of its actions."""
        progress = self.progress.get(request.match_info["key"])
        if progress is None:
            raise web.HTTPNotFound(text="nothing is known of it here: PUT it again, it is never started twice")
        return web.json_response(progress.to_dict())

    async def recover(self) -> None:
        """Go on with what an earlier process has left open."""
        with suppress(ClientClosedError):
            async for found in self.close.recover():
                key = found.intent.idempotency_key or found.intent.id
                if found.ref is not None:
                    logger.info("%s goes on: %s", key, found.ref)
                    self.follow(key, found.ref)
                elif found.error is not None:
                    logger.error("%s needs an operator: %s", key, found.error)
                else:
                    logger.warning("nothing ran for %s: PUT it again if it is wanted", key)

    def follow(self, key: str, ref: JobRef[Any]) -> None:
        """Keep `progress` up to date until the action has ended."""
        if key not in self.following:
            self.following.add(key)
            while len(self.progress) >= KEPT:
                del self.progress[next(iter(self.progress))]
            self.group.create_task(self._follow(key, ref))

    async def _follow(self, key: str, ref: JobRef[BulkAction]) -> None:
        async for progress in self.close.watch(ref):
            self.progress[key] = progress
            if progress.is_final:
                logger.info("%s: %s", key, progress.error or progress.status)
        self.following.discard(key)


if __name__ == "__main__":
    main()
