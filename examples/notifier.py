"""A hook that tells a chat channel when actions end or fail, and when nobody knows whether one was started.

    python examples/notifier.py
    python examples/notifier.py --live    # with CLOSE_API_KEY and SLACK_WEBHOOK_URL: tells of what runs now

`Notifier` posts `{"text": ...}`, which Slack, Mattermost and others take as an incoming webhook.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self

import aiohttp
from _simulator import connect, make_parser
from aiohttp import web

from closebulk_async import ActionMoved, StartReconciled, lead

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from closebulk_async import Event

logger = logging.getLogger("notifier")


class Notifier:
    """A hook: `async with Notifier(url) as notifier, CloseBulk(hooks=[notifier]) as close: ...`.

    A message waits in a queue of `size` for a task that posts it, so that no request of the client ever waits for the
    chat. What finds the queue full or cannot be delivered is logged and dropped. At the end of the block, what is in
    the queue has `patience` seconds to go out.
    """

    def __init__(self, url: str, *, size: int = 100, patience: float = 5.0) -> None:
        """Post nothing yet. The URL is a secret: whoever has it can write to the channel. So it is never logged."""
        self._url = url
        self._patience = patience
        self._queue: asyncio.Queue[str] = asyncio.Queue(size)

    def __call__(self, event: Event) -> None:
        """Take one event of the client's; at once."""
        text = describe(event)
        if text is None:
            return
        try:
            self._queue.put_nowait(text)
        except asyncio.QueueFull:
            logger.warning("the queue is full, dropped: %s", text)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._post_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._queue.join()
        self._task.cancel()
        await asyncio.wait([self._task])
        while not self._queue.empty():
            logger.warning("no time was left, dropped: %s", self._queue.get_nowait())

    async def _post_all(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while True:
                text = await self._queue.get()
                try:
                    await self._post(session, text)
                finally:
                    self._queue.task_done()

    async def _post(self, session: aiohttp.ClientSession, text: str) -> None:
        try:
            async with session.post(self._url, json={"text": text}, allow_redirects=False) as answer:
                if answer.status not in range(200, 300):
                    logger.warning("the channel answered with %d, dropped: %s", answer.status, text)
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # its text may have the URL
            logger.warning("the channel cannot be reached (%s), dropped: %s", type(exc).__name__, text)
        except asyncio.CancelledError:
            logger.warning("no time was left, dropped: %s", text)
            raise


DOUBTS = {
    "missing": "no action of it was found",
    "several": "more than one action may be it",
    "unknown": "the list of actions could not be read",
}


def describe(event: Event) -> str | None:
    """What to tell of an event, None for most of them."""
    match event:
        case ActionMoved(before=before, action=action) if action.is_final and not (before and before.is_final):
            return f"{action.ref} {'has failed' if action.is_failed else 'is done'}"
        case StartReconciled(intent=intent, outcome=outcome) if outcome in DOUBTS:
            return f"the start of a bulk {intent.kind} is in doubt, {DOUBTS[outcome]}: look at intent {intent.id}"
    return None


async def run(options: argparse.Namespace) -> None:
    """Tell of what runs now; at a simulator, that is one that ends well and one that fails."""
    async with (
        choose_channel(options) as url,
        Notifier(url) as notifier,
        connect(options, failing=1, hooks=[notifier]) as close,
    ):
        if options.live:
            steps = close.watch_active()
        else:
            companies = ("ACME Inc.", "Example Corp.")
            steps = close.watch(*[await close.deletes.create(s_query=lead.name.full_words(name)) for name in companies])
        async for _ in steps:
            pass  # the hook tells


@asynccontextmanager
async def choose_channel(options: argparse.Namespace) -> AsyncIterator[str]:
    """The webhook URL of the environment if `options.live`, else that of a channel which prints what it gets."""
    if options.live:
        yield os.environ["SLACK_WEBHOOK_URL"]
        return

    async def receive(request: web.BaseRequest) -> web.Response:
        print("the channel:", (await request.json())["text"], flush=True)
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(receive, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def main() -> None:
    """Run until all actions have ended."""
    parser = make_parser(__doc__)
    options = parser.parse_args()
    if options.live and not os.environ.get("SLACK_WEBHOOK_URL"):
        parser.error("--live needs SLACK_WEBHOOK_URL")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
