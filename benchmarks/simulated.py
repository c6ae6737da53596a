"""The server of the benchmarks of starts: the simulator, in its own process, with a fault for each POST.

`python -m benchmarks.simulated --core N --starts 1000` answers the orders `address` and `jobs` with a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from closebulk_async.simulator import Fault, Plan, Simulator, faults

if TYPE_CHECKING:
    from aiohttp import web

API_KEY: Final = "api_bench"
TRY_SECONDS: Final = 2.0
"""How long a client of these benchmarks waits for an answer to one POST."""

SETTLE_SECONDS: Final = 0.25
"""How long this SDK looks for a job that there may not be."""

_LONG: Final = 86_400.0
"""Jobs outlast every benchmark."""

# What the job has begun with, and what it has not: a client sees no difference between the two halves.
FAULTS: Final[Mapping[str, Fault]] = {
    "job began, connection cut": faults.cut_after(),
    "job began, 503": faults.server_error(503, acts=True),
    "job began, 502": faults.server_error(502, acts=True),
    "job began, no answer": faults.hang(acts=True),
    "job began, answer cut short": faults.truncated_body(),
    "job began, half of the JSON": faults.broken_json(),
    "job began, 204": faults.no_content(),
    "no job, connection cut": faults.cut_before(),
    "no job, 503": faults.server_error(503),
    "no job, no answer": faults.hang(),
    "no job, 429": faults.too_many_requests(retry_after=0),
}


def plan_faults(starts: int, *, seed: int = 0) -> Sequence[Sequence[str]]:
    """The names of the faults that the tries of each start meet, the same for every client: one, or sometimes two.

    All kinds come first equally often. A try beyond them meets none.
    """
    chance, names = random.Random(seed), list(FAULTS)  # noqa: S311 - a script that is the same in every run
    return [
        [names[number % len(names)], *chance.sample(names, k=int(chance.random() < 0.25))] for number in range(starts)
    ]


def make_body(number: int) -> dict[str, Any]:
    """The POST of one start; no other one has its query."""
    return {
        "template_id": "tmpl_1",
        "email_account_id": "emailacct_1",
        "sender": "sender@example.com",
        "contact_preference": "lead",
        "s_query": {
            "type": "field_condition",
            "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
            "condition": {"type": "text", "mode": "full_words", "value": f"start {number}"},
        },
    }


def find_number(body: Mapping[str, Any]) -> int:
    """The start that a body of `make_body` belongs to."""
    return int(body["s_query"]["condition"]["value"].removeprefix("start "))


@attrs.define(kw_only=True, eq=False)
class FaultySimulator(Simulator):
    """The simulator, where the tries of each start meet the faults that `script` names for it, in turn."""

    script: Sequence[Sequence[str]] = ()
    _tries: Counter[int] = attrs.field(factory=Counter, init=False)

    def find_jobs(self) -> dict[int, list[str]]:
        """The ids of the jobs of each start that has any."""
        found: dict[int, list[str]] = defaultdict(list)
        for job in self.jobs:
            found[find_number(job.request)].append(job.id)
        return dict(found)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.method == "POST":
            number = find_number(json.loads(await http.read()))
            names = self.script[number : number + 1]
            if names and self._tries[number] < len(names[0]):
                # Met by this very request: its body is read already, so that no other one comes in between.
                self.fail_next(FAULTS[names[0][self._tries[number]]])
            self._tries[number] += 1
        return await super()._handle(http)


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--starts", type=int, default=0, help="how many starts meet faults")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    asyncio.run(_serve(plan_faults(options.starts)))


async def _serve(script: Sequence[Sequence[str]]) -> None:
    async with FaultySimulator(api_key=API_KEY, plan=Plan(duration=_LONG), script=script) as sim:
        while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
            address = {"base_url": sim.base_url, "organization_id": sim.organization_id, "user_id": sim.user_id}
            print(json.dumps(address if order == "address" else sim.find_jobs()), flush=True)


if __name__ == "__main__":
    main()
