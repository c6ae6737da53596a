"""What is compared with what, and what was promised of it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Round


@attrs.frozen
class Comparison:
    """A ratio of two figures of the same round, or their difference, and the bound that was set for it."""

    title: str
    of: str
    to: str
    at_most: float | None = None
    at_least: float | None = None
    is_difference: bool = False

    @property
    def unit(self) -> str:
        """What its value is counted in; the figures of differences are milliseconds."""
        return "ms" if self.is_difference else "x"

    @property
    def target(self) -> str:
        """The bound in words, empty where none was set."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return "" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"

    def compare(self, round_: Round) -> float | None:
        """Give the value for one round; None for one that lacks one of the two figures."""
        if self.of not in round_ or self.to not in round_:
            return None
        return round_[self.of] - round_[self.to] if self.is_difference else round_[self.of] / round_[self.to]

    def is_met_by(self, value: float) -> bool:
        """Say whether the value keeps the bound; without a bound every value does."""
        too_high = self.at_most is not None and value > self.at_most
        too_low = self.at_least is not None and value < self.at_least
        return not (too_high or too_low)


@attrs.frozen
class Finding:
    """The median of a comparison's values over all rounds, with the middle half of them."""

    comparison: Comparison
    median: float
    lower_quartile: float
    upper_quartile: float
    rounds: int

    @property
    def is_met(self) -> bool | None:
        """Whether the bound was kept; None where none was set."""
        return self.comparison.is_met_by(self.median) if self.comparison.target else None


def _compare_cpu(client: str, operation: str, concurrency: int, *, at_most: float | None = None) -> Comparison:
    title = f"`{operation}`, {concurrency} at once: CPU of {client} to that of the floor"
    run = f"{operation}.{concurrency}.cpu_us"
    return Comparison(title, f"{client}.{run}", f"by_hand.{run}", at_most=at_most)


def _compare_speed(
    peer: str, operation: str, concurrency: int = 16, *, of: str = "with_sdk", at_least: float | None = None
) -> Comparison:
    title = f"`{operation}`: requests/s of {of} with 16 at once to {peer} with {concurrency}"
    unit = "per_second"
    return Comparison(
        title, f"{of}.{operation}.16.{unit}", f"{peer}.{operation}.{concurrency}.{unit}", at_least=at_least
    )


def _compare_decoding(name: str, body: str, *, to: str = "orjson", at_most: float | None = None) -> Comparison:
    return Comparison(f"decoding, {body}: {name} to {to}", f"{name}.{body}.us", f"{to}.{body}.us", at_most=at_most)


def _compare_import(name: str, *, at_most: float | None = None) -> Comparison:
    return Comparison(f"import: {name} to aiohttp", f"{name}.import.ms", "aiohttp.import.ms", at_most=at_most)


OF_SPEED: Final = (
    _compare_cpu("with_sdk", "get", 1, at_most=1.15),
    _compare_cpu("with_sdk", "get", 16, at_most=1.15),
    _compare_speed("with_closeio", "get", at_least=4),
    _compare_speed("with_closeio", "get", 1, at_least=4),
    _compare_speed("with_httpx", "get", at_least=10),
    _compare_speed("by_hand", "get"),
    # What is left for an SDK to reach: aiohttp itself is no faster than this.
    _compare_speed("with_closeio", "get", of="by_hand"),
    _compare_speed("with_closeio", "get", 1, of="by_hand"),
    _compare_speed("with_httpx", "get", of="by_hand"),
    _compare_cpu("with_sdk", "list", 1, at_most=2.2),
    _compare_cpu("with_sdk", "list", 16, at_most=2.2),
    _compare_speed("with_closeio", "list"),
    _compare_speed("with_httpx", "list"),
    _compare_cpu("with_sdk", "narrowed", 1),
    _compare_cpu("with_sdk", "narrowed", 16),
    _compare_speed("with_closeio", "narrowed"),
    _compare_speed("with_httpx", "narrowed"),
    _compare_decoding("closebulk_async", "page", at_most=2.5),
    _compare_decoding("closebulk_async", "narrowed", at_most=8),
    _compare_decoding("closebulk_async", "page", to="pydantic", at_most=1),
    _compare_decoding("closebulk_async", "narrowed", to="pydantic", at_most=1),
    _compare_decoding("pydantic", "page"),
    _compare_decoding("pydantic", "narrowed"),
    _compare_decoding("cattrs", "page"),
    _compare_decoding("cattrs", "narrowed"),
    _compare_import("closebulk_async", at_most=1.2),
    _compare_import("closebulk_async.models"),
    *(_compare_cpu(client, operation, 1) for client in ("with_closeio", "with_httpx") for operation in ("get", "list")),
)


def _compare_start(title: str, of: str, to: str, *, at_most: float | None = None) -> Comparison:
    return Comparison(title, f"{of}.start.ms", f"{to}.start.ms", at_most=at_most, is_difference=True)


OF_STARTS: Final = (
    _compare_start("`create`: journal in SQLite less journal in memory", "sqlite", "memory", at_most=3),
    _compare_start("of that, what the disk costs: SQLite on the disk less SQLite on none", "sqlite", "diskless"),
    Comparison("`create`: 10,000 final intents to none", "full.start.ms", "sqlite.start.ms", at_most=1.2),
    Comparison("`recover`: 10,000 final intents to none", "full.recover.ms", "empty.recover.ms", at_most=1.2),
)


def find(comparisons: Sequence[Comparison], rounds: Sequence[Round]) -> list[Finding]:
    """Give a finding for each comparison that was measured."""
    found = []
    for comparison in comparisons:
        values = [value for round_ in rounds if (value := comparison.compare(round_)) is not None]
        if values:
            low, middle, high = statistics.quantiles(values * 2, n=4, method="inclusive")
            found.append(Finding(comparison, middle, low, high, len(values)))
    return found


def find_medians(rounds: Sequence[Round]) -> Round:
    """Give the median of each figure over the rounds that have it: orders of magnitude, not for comparing."""
    names = sorted({name for round_ in rounds for name in round_})
    return {name: statistics.median(round_[name] for round_ in rounds if name in round_) for name in names}
