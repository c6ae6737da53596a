"""Results as a JSON file and as Markdown tables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
import orjson

from benchmarks.figures import Comparison, Finding, find, find_medians
from benchmarks.harness import Effort, Round

_PACKAGES: Final = (
    "aiohttp",
    "aiosalesforce",
    "aiosqlite",
    "attrs",
    "azure-core",
    "cattrs",
    "closebulk-async",
    "closeio",
    "google-api-core",
    "httpx",
    "openai",
    "orjson",
    "playwright",
    "prometheus-client",
    "pydantic",
    "requests",
)


@attrs.frozen(kw_only=True)
class Report:
    """What one command measures, and what it says about that. `name` is that of its files.

    `counts` are the suites whose one round is made of counts: each makes its own Markdown of it.
    """

    name: str
    title: str
    how_to_read: str
    suites: Mapping[str, Callable[[Effort], Iterator[Round]]]
    comparisons: Sequence[Comparison]
    counts: Mapping[str, Callable[[Round], str]] = attrs.field(factory=dict)

    def make(self, effort: Effort, measured: Mapping[str, Sequence[Round]]) -> dict[str, object]:
        """Give all that a run found, ready for JSON. `measured` are the rounds of each suite that was run."""
        rounds = self._timed(measured)
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _describe_machine(),
            "versions": _find_versions(),
            "effort": attrs.asdict(effort),
            "comparisons": [_describe(finding) for finding in find(self.comparisons, rounds)],
            "medians": find_medians(rounds),
            "counts": {name: measured[name] for name in self.counts if name in measured},
        }

    def render(self, effort: Effort, measured: Mapping[str, Sequence[Round]]) -> str:
        """Give the same as Markdown."""
        machine = " · ".join(_describe_machine().values())
        versions = " · ".join(f"{name} {version}" for name, version in _find_versions().items())
        amount = f"{effort.sessions} sessions of {effort.rounds} rounds, {effort.slice_seconds * 1e3:g} ms a slice"
        parts = [
            f"# {self.title}\n\n{datetime.now(UTC):%Y-%m-%d} · {machine} · {amount}\n\n{versions}\n",
            self.how_to_read,
            *(render(measured[name][0]) for name, render in self.counts.items() if name in measured),
            *_render_comparisons(self.comparisons, self._timed(measured)),
        ]
        return "\n".join(parts)

    def write(self, folder: Path, effort: Effort, measured: Mapping[str, Sequence[Round]]) -> None:
        """Write both into the folder, as a `.json` and a `.md` file."""
        folder.mkdir(parents=True, exist_ok=True)
        made = orjson.dumps(self.make(effort, measured), option=orjson.OPT_INDENT_2)
        (folder / f"{self.name}.json").write_bytes(made)
        (folder / f"{self.name}.md").write_text(self.render(effort, measured), encoding="utf-8")

    def _timed(self, measured: Mapping[str, Sequence[Round]]) -> Sequence[Round]:
        return [round_ for name, rounds in measured.items() if name not in self.counts for round_ in rounds]


def _render_comparisons(comparisons: Sequence[Comparison], rounds: Sequence[Round]) -> Iterator[str]:
    if not rounds:
        return
    rows = "\n".join(_render_row(finding) for finding in find(comparisons, rounds))
    medians = "\n".join(f"| {name} | {value:,.1f} |" for name, value in find_medians(rounds).items())
    yield f"""\
| comparison | median | middle half | target | met |
|---|---|---|---|---|
{rows}

Medians of the single figures, for their size only: a machine's speed drifts while it is measured.

| figure | median |
|---|---|
{medians}
"""


def _describe(finding: Finding) -> dict[str, object]:
    return {"target": finding.comparison.target, "is_met": finding.is_met} | attrs.asdict(finding)


def _render_row(finding: Finding) -> str:
    met = {True: "yes", False: "**no**", None: ""}[finding.is_met]
    spread = f"{finding.lower_quartile:.2f} to {finding.upper_quartile:.2f}"
    value = f"{finding.median:.2f} {finding.comparison.unit}"
    return f"| {finding.comparison.title} | {value} | {spread} | {finding.comparison.target} | {met} |"


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
