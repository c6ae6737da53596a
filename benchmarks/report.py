"""The results as a JSON file and as a Markdown table."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from benchmarks.figures import find_medians, find_ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figures import Finding
    from benchmarks.harness import Effort, Round

_PACKAGES: Final = (
    "aiohttp",
    "attrs",
    "cattrs",
    "closebulk-async",
    "closeio",
    "httpx",
    "orjson",
    "pydantic",
    "requests",
)


_HOW_TO_READ: Final = """\
Client and server stand on different cores; the server is one nginx process with static files. A ratio is taken inside
a round, in which everything has one short slice; the table shows the median of all rounds and the middle half of them.
CPU is user and system time of the client's process for one request.
"""


def make_report(effort: Effort, rounds: Sequence[Round]) -> dict[str, object]:
    """Give all that a run found, ready for JSON."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _describe_machine(),
        "versions": _find_versions(),
        "effort": attrs.asdict(effort),
        "ratios": [_describe(finding) for finding in find_ratios(rounds)],
        "medians": find_medians(rounds),
    }


def render(effort: Effort, rounds: Sequence[Round]) -> str:
    """Give the same as Markdown."""
    machine = " · ".join(_describe_machine().values())
    versions = " · ".join(f"{name} {version}" for name, version in _find_versions().items())
    amount = f"{effort.sessions} sessions of {effort.rounds} rounds, {effort.slice_seconds * 1e3:g} ms a slice"
    ratios = "\n".join(_render_row(finding) for finding in find_ratios(rounds))
    medians = "\n".join(f"| {name} | {value:,.1f} |" for name, value in find_medians(rounds).items())
    return f"""# Benchmarks

{datetime.now(UTC):%Y-%m-%d} · {machine} · {amount}

{versions}

{_HOW_TO_READ}
| ratio | median | middle half | target | met |
|---|---|---|---|---|
{ratios}

Medians of the single figures, for their size only: a machine's speed drifts while it is measured.

| figure | median |
|---|---|
{medians}
"""


def write(folder: Path, effort: Effort, rounds: Sequence[Round]) -> None:
    """Write `latest.json` and `latest.md` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_bytes(orjson.dumps(make_report(effort, rounds), option=orjson.OPT_INDENT_2))
    (folder / "latest.md").write_text(render(effort, rounds), encoding="utf-8")


def _describe(finding: Finding) -> dict[str, object]:
    return {"target": finding.comparison.target, "is_met": finding.is_met} | attrs.asdict(finding)


def _render_row(finding: Finding) -> str:
    met = {True: "yes", False: "**no**", None: ""}[finding.is_met]
    spread = f"{finding.lower_quartile:.2f} to {finding.upper_quartile:.2f}"
    return f"| {finding.comparison.title} | {finding.median:.2f} x | {spread} | {finding.comparison.target} | {met} |"


def _describe_machine() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0))
    return {
        "processor": _find_processor(),
        "cores": f"{cores} core{'s' if cores > 1 else ''}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _find_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _find_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "from this checkout" if name == "closebulk-async" else "not installed"
    return found
