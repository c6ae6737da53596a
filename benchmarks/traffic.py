"""Rounds of requests: each client in turn, alone and with 16 requests in flight, against one server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from benchmarks.corpus import OPERATIONS
from benchmarks.harness import WARM_UP_ROUNDS, choose_cores, start_worker
from benchmarks.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.harness import Effort, Round

CLIENTS: Final = ("by_hand", "with_sdk", "with_closeio", "with_httpx")
CONCURRENCIES: Final = (1, 16)


def measure(effort: Effort) -> Iterator[Round]:
    """Give rounds of `<client>.<operation>.<concurrency>.<cpu_us or per_second>`, each round for one operation."""
    client_core, server_core = choose_cores()
    with serve(core=server_core) as base_url:
        for operation in OPERATIONS:
            for _ in range(effort.sessions):
                yield from _measure_session(effort, operation, base_url, core=client_core)


def _measure_session(effort: Effort, operation: str, base_url: str, *, core: int) -> Iterator[Round]:
    with contextlib.ExitStack() as stack:
        workers = {
            client: stack.enter_context(start_worker("load", client, operation, base_url, "--core", str(core)))
            for client in CLIENTS
        }
        for number in range(WARM_UP_ROUNDS + effort.rounds):
            figures = _measure_round(workers, operation, effort.slice_seconds)
            if number >= WARM_UP_ROUNDS:
                yield figures


def _measure_round(workers: dict[str, Callable[[str], Round]], operation: str, seconds: float) -> Round:
    return {
        f"{client}.{operation}.{concurrency}.{unit}": value
        for concurrency in CONCURRENCIES
        for client, ask in workers.items()
        for unit, value in ask(f"{concurrency} {seconds}").items()
    }
