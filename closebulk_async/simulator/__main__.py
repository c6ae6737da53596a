"""`python -m closebulk_async.simulator`: the simulator as a program of its own, on the machine's time.

It prints its base URL as one line once it serves, and ends with status 0 on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .server import Simulator

_STDIN = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code is 0 then, and 1 when the port cannot be had."""
    options = _parser().parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(options))
    except OSError as error:
        print(f"cannot serve on port {options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m closebulk_async.simulator",
        description="Serve the bulk actions of a made-up Close organization on 127.0.0.1.",
    )
    parser.add_argument("--port", type=_port, default=0, help="port to listen on; 0 (the default) takes any free one")
    parser.add_argument("--api-key", help="key that clients must use; an invented one by default")
    parser.add_argument("--seconds", type=_number, default=10.0, help="how long a job runs (default: %(default)s)")
    parser.add_argument("--leads", type=_count, default=100, help="how many leads a job acts on (default: %(default)s)")
    parser.add_argument("--ends", choices=("done", "error"), default="done", help="how jobs end (default: %(default)s)")
    parser.add_argument(
        "--rate", type=_number, help="requests per second and key in each endpoint group; 0, the default, is no limit"
    )
    parser.add_argument("--seed", type=int, default=0, help="makes the ids (default: %(default)s)")
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="also stop when standard input ends, which it does when a parent that holds the other end dies",
    )
    return parser


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise ValueError
    return value


# argparse names the type in its message about a value that does not fit.
_number.__name__ = "number"
_count.__name__ = "count"
_port.__name__ = "port"


def _build(options: argparse.Namespace) -> Simulator:
    # Only a simulator that serves needs aiohttp: `--help` and a wrong option answer without it.
    from .limits import Limits
    from .plans import Plan
    from .server import DEFAULT_API_KEY, Simulator

    return Simulator(
        port=options.port,
        api_key=options.api_key or DEFAULT_API_KEY,
        seed=options.seed,
        plan=Plan(duration=options.seconds, n_objects=options.leads, ends=options.ends),
        limits=Limits(rate=options.rate) if options.rate else None,
    )


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl-C raises KeyboardInterrupt in `main`.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    if options.exit_with_stdin:
        threading.Thread(target=_stop_after_stdin, args=(loop, stopped), daemon=True).start()
    async with _build(options) as simulator:
        print(simulator.base_url, flush=True)
        await stopped.wait()


def _stop_after_stdin(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    # Not `sys.stdin.read`: its lock, held by a daemon thread, is a fatal error when the interpreter ends first.
    with suppress(OSError):
        while os.read(_STDIN, 4096):
            pass
    with suppress(RuntimeError):  # the loop was closed by a signal meanwhile
        loop.call_soon_threadsafe(stopped.set)


if __name__ == "__main__":
    sys.exit(main())
