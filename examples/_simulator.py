"""What the programs of this folder share: a client of a simulator of their own, or with `--live` of Close.

Whatever the environment says (a key, a base URL, proxies), an example meets Close only when it is told to by `--live`,
and keeps its files in a temporary folder until then.
"""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from closebulk_async import CloseBulk, PollPolicy
from closebulk_async.simulator import Plan, Simulator, WebhookRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from closebulk_async import Hook

OFTEN = PollPolicy(floor=0.2, ceiling=0.5)
"""How a simulator is asked: nobody's rate limit is at stake. Close is asked by the default policy."""


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all programs have; the first line of `description` is shown."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--live", action="store_true", help="talk to Close, with CLOSE_API_KEY, and really do it")
    parser.add_argument("--seconds", type=number, default=5.0, help="how long a job of the simulator runs")
    parser.add_argument("--leads", type=whole, default=100, help="how many leads a job of the simulator acts on")
    return parser


@asynccontextmanager
async def connect(
    options: argparse.Namespace,
    *,
    failing: int = 0,
    journal: Path | None = None,
    hooks: Iterable[Hook] = (),
    poll: PollPolicy | None = None,
) -> AsyncIterator[CloseBulk]:
    """A client of Close if `options.live`, else of a simulator that ends with the block.

    The first `failing` jobs of the simulator fail.
    """
    if options.live:
        async with CloseBulk.from_env(journal=journal, hooks=hooks, poll=poll or PollPolicy()) as close:
            yield close
        return
    simulator = Simulator(
        plan=Plan(duration=options.seconds, n_objects=options.leads), webhook_rules=WebhookRules(delay=0)
    )
    for _ in range(failing):
        simulator.next_job(ends="error")
    # Key and address are given, so that nothing of the environment is read; the session knows no proxies.
    async with (
        simulator,
        CloseBulk(
            simulator.api_key, base_url=simulator.base_url, journal=journal, hooks=hooks, poll=poll or OFTEN
        ) as close,
    ):
        address = simulator.base_url
        print(f"{address} is a simulator of Close's API. Nothing is sent to Close.", file=sys.stderr, flush=True)
        yield close


@contextmanager
def open_folder(options: argparse.Namespace, *, live: Path) -> Iterator[Path]:
    """Where a program keeps its files: the folder `live` if `options.live`, else one that is deleted at the end."""
    if options.live:
        live.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield live
        return
    with TemporaryDirectory(prefix="closebulk-example-") as folder:
        yield Path(folder)


def number(text: str) -> float:
    """A duration in seconds, for argparse."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def whole(text: str) -> int:
    """A count, for argparse."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def at_least_one(text: str) -> int:
    """A count of what there has to be, for argparse."""
    value = whole(text)
    if not value:
        raise ValueError
    return value


# argparse names the type in its message about a value that does not fit.
whole.__name__ = "count"
at_least_one.__name__ = "count of at least one"
