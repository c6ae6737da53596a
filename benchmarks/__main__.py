"""`python -m benchmarks [--quick] [--only SUITE] [--output FOLDER]`: measure, print the table, keep the results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import decoding, imports, report, traffic
from benchmarks.harness import FULL, QUICK

if TYPE_CHECKING:
    from benchmarks.harness import Round

SUITES: Final = {"traffic": traffic.measure, "decoding": decoding.measure, "imports": imports.measure}
_RESULTS: Final = Path(__file__).parent / "results"


def main() -> None:
    """Run the suites; only a full run replaces the recorded results, anything less needs `--output`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this SDK beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that everything runs, no figures")
    parser.add_argument("--only", choices=SUITES, help="one suite instead of all")
    parser.add_argument("--output", type=Path, help="folder for latest.json and latest.md")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    rounds: list[Round] = []
    for name in [options.only] if options.only else SUITES:
        print(f"measuring: {name}", file=sys.stderr)
        rounds.extend(SUITES[name](effort))
    print(report.render(effort, rounds))
    is_full = not (options.quick or options.only)
    if folder := options.output or (_RESULTS if is_full else None):
        report.write(folder, effort, rounds)
        print(f"written: {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
