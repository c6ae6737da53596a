"""Change the package in one place at a time, and count which changes no test finds.

The exit code is 1 where one survives that `survivors.toml` does not list, with its reason.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutants.changes import find_changes
from tests.mutants.listed import Survivors, to_toml
from tests.mutants.suite import Suite
from tests.mutants.tables import NOT_LOOKED_AT, TESTS, list_files
from tests.mutants.trials import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from tests.mutants.changes import Change

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Try the changes of the named modules, print a table, and say which survivors are new."""
    options = _read_arguments()
    signal.signal(signal.SIGTERM, _leave)
    known = Survivors.read()
    counts: dict[str, Counter[Verdict]] = {}
    survived: list[Change] = []
    for module in options.modules:
        counts[module] = Counter()
        for change, verdict in _try(module, options):
            counts[module][verdict] += 1
            if verdict is Verdict.SURVIVED:
                survived.append(change)
                if known.without([change]):
                    _say(f"{change}\n{to_toml(change)}")
        _say(_row(module, counts[module]))
    new = known.without(survived)
    _say(f"\n{_table(counts)}")
    if not options.owner:
        for key in known.outdated(options.modules, survived):
            _say("listed, but does not survive:", *key)
    _say(f"\n{len(survived)} survived, {len(new)} of them not listed in tests/mutants/survivors.toml")
    return 1 if new else 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules of the package (all whose survivors were looked at)")
    parser.add_argument("--owner", default="", help="only the changes of this function or class")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="test runs at the same time (%(default)s)")
    options = parser.parse_args()
    options.modules = options.modules or list(TESTS)
    unknown = sorted(set(options.modules) - {*TESTS, *NOT_LOOKED_AT})
    if unknown:
        parser.error(f"no tests are named for {', '.join(unknown)}: see tests/mutants/tables.py")
    return options


def _try(module: str, options: argparse.Namespace) -> Iterator[tuple[Change, Verdict]]:
    path = ROOT / "closebulk_async" / f"{module}.py"
    changes = [it for it in find_changes(path) if f"{it.owner}.".startswith(f"{options.owner}.") or not options.owner]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        suite = Suite(
            module=module,
            path=path,
            files=list_files(module),
            changes=changes,
            folder=Path(folder),
            at_once=options.jobs,
        )
        try:
            with closing(suite.run()) as results:
                yield from results
        except RuntimeError as exc:
            sys.exit(f"{exc}\n{Path(folder, 'output.txt').read_text()[-5000:]}")


def _table(counts: dict[str, Counter[Verdict]]) -> str:
    head = "| module | changes | killed | timed out | survived | per cent |\n|---|---:|---:|---:|---:|---:|"
    rows = [_row(module, count) for module, count in counts.items()]
    if len(counts) > 1:
        rows.append(_row("all", sum(counts.values(), Counter())))
    return "\n".join([head, *rows])


def _row(name: str, count: Counter[Verdict]) -> str:
    found = count[Verdict.KILLED] + count[Verdict.TIMED_OUT]
    share = f"{100 * found / count.total():.1f}" if count else "-"
    cells = (name, count.total(), count[Verdict.KILLED], count[Verdict.TIMED_OUT], count[Verdict.SURVIVED], share)
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _say(*words: str) -> None:
    print(*words, flush=True)  # noqa: T201 - a program of the command line


def _leave(*_: object) -> NoReturn:
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
