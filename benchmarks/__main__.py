"""`python -m benchmarks [REPORT] [--quick] [--only SUITE] [--output FOLDER]`: measure, print, record."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from benchmarks.harness import FULL, QUICK
from benchmarks.reports import REPORTS

_RESULTS: Final = Path(__file__).parent / "results"


def main() -> None:
    """Run the suites; only a full run replaces the recorded results, anything less needs `--output`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this SDK beside its peers.")
    parser.add_argument("report", nargs="?", choices=REPORTS, default="speed", help="what about (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that everything runs, no figures")
    parser.add_argument("--only", metavar="SUITE", help="one suite of the report instead of all")
    parser.add_argument("--output", type=Path, help="folder for the report's two files")
    options = parser.parse_args()
    report, effort = REPORTS[options.report], QUICK if options.quick else FULL
    if options.only and options.only not in report.suites:
        parser.error(f"{options.only} is not a suite of {options.report}, which has {', '.join(report.suites)}")
    measured = {}
    for name in [options.only] if options.only else report.suites:
        print(f"measuring: {name}", file=sys.stderr)
        measured[name] = list(report.suites[name](effort))
    print(report.render(effort, measured))
    is_full = not (options.quick or options.only)
    if folder := options.output or (_RESULTS if is_full else None):
        report.write(folder, effort, measured)
        print(f"written: {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
