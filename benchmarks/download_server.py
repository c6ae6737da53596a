"""The server of the benchmark of downloads: the simulator, in its own process, with one export that is done.

`python -m benchmarks.download_server --size 1000000000` answers each order with a line of JSON: where the API is, and
the ref of the export, whose file has so many bytes when it is unpacked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Final

from closebulk_async.simulator import ExportPlan, Simulator

API_KEY: Final = "api_bench"


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().size))


async def _serve(size: int) -> None:
    async with Simulator(api_key=API_KEY) as sim:
        export = sim.add_export(plan=ExportPlan(size=size), age=1000)
        while (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(json.dumps({"base_url": sim.base_url, "ref": f"export:{export.id}"}), flush=True)


if __name__ == "__main__":
    main()
