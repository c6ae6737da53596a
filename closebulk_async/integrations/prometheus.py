"""Prometheus: the package's numbers as metrics of `prometheus_client`. Extra: `closebulk-async[prometheus]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.integrations.measures import INSTRUMENTS, measure

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _exc:
    message = "prometheus_client is not installed: pip install 'closebulk-async[prometheus]'"
    raise ImportError(message, name=_exc.name) from _exc

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.integrations.measures import Instrument
    from closebulk_async.telemetry import Event


class PrometheusHook:
    """Keeps the metrics `closebulk_…`, which docs/telemetry.md lists. One for all clients of a process.

    A registry knows each name once: another hook for the same one raises ValueError.
    """

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        """Make all metrics; those without labels are shown from now on, as zero."""
        self._record = {instrument: _make(instrument, registry) for instrument in INSTRUMENTS}

    def __call__(self, event: Event) -> None:
        """Count an event."""
        for instrument, amount, labels in measure(event):
            self._record[instrument](amount, labels)


def _make(instrument: Instrument, registry: CollectorRegistry) -> Callable[[float, tuple[str, ...]], None]:
    """The metric of an instrument, as what records a value of it."""
    name, meaning = f"closebulk_{instrument.name.replace('.', '_')}", instrument.meaning
    match instrument.form:
        case "counter":
            counter = Counter(name, meaning, instrument.labels, registry=registry)
            return lambda amount, labels: counter.labels(*labels).inc(amount)
        case "gauge":
            gauge = Gauge(name, meaning, registry=registry)
            return lambda amount, _: gauge.inc(amount)
        case "histogram":
            seconds = Histogram(
                f"{name}_seconds", meaning, instrument.labels, registry=registry, buckets=instrument.buckets
            )
            return lambda amount, labels: seconds.labels(*labels).observe(amount)
