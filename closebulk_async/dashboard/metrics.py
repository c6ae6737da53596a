"""`/metrics`: what the board shows as gauges, beside what the hook of a client counts. Extra: `dashboard`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as _exc:
    message = "prometheus_client is not installed: pip install 'closebulk-async[dashboard]'"
    raise ImportError(message, name=_exc.name) from _exc

from closebulk_async.dashboard.cards import CARD_PHASES
from closebulk_async.intents import State
from closebulk_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from closebulk_async.dashboard.board import Board
    from closebulk_async.limits import GroupLimits, ShownLimit

GAUGES: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "closebulk_actions": (("kind", "phase"), "Actions on the dashboard: those that run, and recent ones"),
        "closebulk_objects_remaining": (("kind",), "Objects that running and paused actions have still to process"),
        "closebulk_rate_limit_requests": (("group", "scope"), "Requests that a window of the rate limit allows"),
        "closebulk_rate_limit_remaining_requests": (
            ("group", "scope"),
            "What the latest answer said was left of the window",
        ),
        "closebulk_open_starts": (("state",), "Starts in the journal whose action is not known"),
        "closebulk_last_success_timestamp_seconds": ((), "When Close last answered"),
        "closebulk_dashboard_clients": ((), "Pages that are open"),
    }
)
"""All of them, with their labels and meanings. No label has a value for each action: each would be a time series."""


class BoardCollector(Collector):
    """Reads the gauges off the board when they are asked for."""

    def __init__(
        self, board: Board, *, limits: Callable[[], Mapping[str, GroupLimits]], n_clients: Callable[[], int]
    ) -> None:
        """Read nothing yet."""
        self._board = board
        self._limits = limits
        self._n_clients = n_clients

    def collect(self) -> Iterator[Metric]:
        """One family for each gauge; what is not known is left out, and what is none is 0."""
        values: dict[str, Mapping[tuple[str, ...], float]] = {
            "closebulk_actions": self._count_actions(),
            "closebulk_objects_remaining": self._count_remaining(),
            **self._read_limits(),
            "closebulk_open_starts": self._count_starts(),
            "closebulk_last_success_timestamp_seconds": self._read_last_success(),
            "closebulk_dashboard_clients": {(): self._n_clients()},
        }
        for name, (labels, meaning) in GAUGES.items():
            family = GaugeMetricFamily(name, meaning, labels=labels)
            for words, value in values[name].items():
                family.add_metric(words, value)
            yield family

    def _count_actions(self) -> Mapping[tuple[str, ...], float]:
        counts: dict[tuple[str, ...], float] = {(str(kind), phase): 0 for kind in Kind for phase in CARD_PHASES}
        for card in self._board.cards:
            counts[str(card.ref.kind), card.phase] += 1
        return counts

    def _count_remaining(self) -> Mapping[tuple[str, ...], float]:
        left: dict[tuple[str, ...], float] = {(str(kind),): 0 for kind in Kind}
        for card in self._board.cards:
            if card.is_live and card.total is not None:
                left[(str(card.ref.kind),)] += max(0, card.total - card.processed)
        return left

    def _count_starts(self) -> Mapping[tuple[str, ...], float]:
        if self._board.starts is None:
            return {}
        counts: dict[tuple[str, ...], float] = {(str(state),): 0 for state in (State.NEW, State.POSTING)}
        for start in self._board.starts:
            counts[(str(start.state),)] += 1
        return counts

    def _read_limits(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        allowed: dict[tuple[str, ...], float] = {}
        remaining: dict[tuple[str, ...], float] = {}
        for group, shown in self._newest_limits():
            words = (group, shown.scope or "unknown")
            allowed[words] = shown.limit
            if shown.remaining is not None:
                remaining[words] = shown.remaining
        return {
            "closebulk_rate_limit_requests": allowed,
            "closebulk_rate_limit_remaining_requests": remaining,
        }

    def _newest_limits(self) -> Iterator[tuple[str, ShownLimit]]:
        """In the order of what was seen: of several limits of one scope, the one that was seen last counts."""
        for name, group in self._limits().items():
            for shown in sorted(group.shown, key=lambda limit: limit.seen_at):
                yield name, shown

    def _read_last_success(self) -> Mapping[tuple[str, ...], float]:
        at = self._board.link.last_ok_at
        return {} if at is None else {(): at.timestamp()}


class _Forwarded(Collector):
    """Another registry, as a part of this one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()


class Exposition:
    """The text of `/metrics`: the gauges of a board, and all that is in a registry of the application's."""

    def __init__(self, board: BoardCollector, registry: CollectorRegistry | None) -> None:
        """Put nothing into `registry`: it may be the one that the application shows elsewhere."""
        self._all = CollectorRegistry()
        self._all.register(board)
        if registry is not None:
            self._all.register(_Forwarded(registry))

    def encode(self, accept: str) -> tuple[bytes, str]:
        """The text, and its content type: that of Prometheus, or OpenMetrics for whoever asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self._all), content_type
