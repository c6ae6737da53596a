"""Decoding alone, bytes to values: the bare decoder, this SDK, plain cattrs and pydantic, in one process and in turn.

`python -m benchmarks.decoding --core N` reads numbers of seconds from its input and answers each with one round.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks.corpus import NARROWED, PAGE
from benchmarks.harness import WARM_UP_ROUNDS, choose_cores, start_worker
from benchmarks.peers import models_of_cattrs, models_of_pydantic
from closebulk_async.convert import decode_page
from closebulk_async.models import BulkEmail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.harness import Effort, Round

BODIES: Final = {"page": PAGE, "narrowed": NARROWED}
DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    "orjson": orjson.loads,
    "closebulk_async": lambda body: decode_page(body, BulkEmail),
    "cattrs": models_of_cattrs.decode,
    "pydantic": models_of_pydantic.decode,
}
_BATCH: Final = 10
"""Decodes between two looks at the process's clock, which is a system call."""


def measure(effort: Effort) -> Iterator[Round]:
    """Give rounds of `<decoder>.<page or narrowed>.us`: microseconds of CPU for one body."""
    core, _ = choose_cores()
    for _ in range(effort.sessions):
        with start_worker("decoding", "--core", str(core)) as ask:
            for number in range(WARM_UP_ROUNDS + effort.rounds):
                figures = ask(str(effort.slice_seconds))
                if number >= WARM_UP_ROUNDS:
                    yield figures


def measure_decoder(decode: Callable[[bytes], object], body: bytes, *, seconds: float) -> float:
    """Give the microseconds of CPU that one decoding takes. The garbage collector stays on, as it is in a service."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(_BATCH):
            decode(body)
        count += _BATCH
    return spent / count * 1e6


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int, required=True)
    os.sched_setaffinity(0, {parser.parse_args().core})
    for order in sys.stdin:
        figures = {
            f"{name}.{kind}.us": measure_decoder(decode, body, seconds=float(order))
            for kind, body in BODIES.items()
            for name, decode in DECODERS.items()
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
