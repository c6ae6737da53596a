"""Numbers, times and steps in the words of the command line. Pure, and plain text without control codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from closebulk_async.models import Export, Job, Phase
from closebulk_async.progress import Progress, count_objects

_MINUTE, _HOUR, _DAY = 60, 60 * 60, 24 * 60 * 60


def cleaned(text: str) -> str:
    """`text` on one line. What a server says may hold control codes, which a terminal would obey."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """`text` with a mark in the place of each control code, line ends included."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns, with its last characters: those of an id tell it from its neighbours."""
    tail = min(6, width // 3)
    return text if len(text) <= width else f"{text[: max(0, width - 1 - tail)]}…{text[len(text) - tail :]}"


def format_number(number: int) -> str:
    """A count, its thousands apart: `1 234`."""
    return f"{number:,}".replace(",", " ")


def format_bytes(number: float) -> str:
    """An amount of data in the largest decimal unit: `999 B`, `1.5 kB`, `12.3 MB`, `1.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.95 or unit == "GB":  # noqa: PLR2004 - what is rounded to 1000 is one of the next unit
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """The two largest units of a duration: `<1s`, `8s`, `2m 05s`, `3h 07m`, `4d 01h`."""
    whole = round(seconds)
    if not whole:
        return "<1s"
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit}{name} {whole % unit // smaller:02}{smaller_name}"
    return f"{whole}s"


def format_roughly(seconds: float) -> str:
    """A duration in the largest unit of which there are at least two: `90s`, `2m`, `119m`, `47h`, `9d`."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= 2 * unit:
            return f"{round(seconds / unit)}{name}"
    return f"{round(seconds)}s"


def format_rate(per_second: float) -> str:
    """Objects per second, minute or hour: the first that makes it at least 1, so that a slow job does not show 0."""
    for seconds, name in ((1, "s"), (_MINUTE, "min")):
        if (rate := per_second * seconds) >= 1:
            return f"{rate:.0f}/{name}" if rate >= 100 else f"{rate:.1f}/{name}"  # noqa: PLR2004 - three digits do
    return f"{per_second * _HOUR:.1f}/h"


def format_percent(fraction: float) -> str:
    """Rounded down, so that 100% is never said before the last object. The small amount is for 0.29 * 100."""
    return f"{int(fraction * 100 + 1e-9)}%"


def format_moment(moment: datetime) -> str:
    """A time of day in UTC, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def has_counts(job: Job) -> bool:
    """Whether the service says how far it is: of an export it may never do."""
    return not isinstance(job, Export) or getattr(job, "n_docs_processed", None) is not None


def format_share(job: Job, processed: int, fraction: float | None) -> str:
    """The percentage, or the count while there is no total; nothing of a job that has no counts."""
    if not has_counts(job):
        return ""
    return str(processed) if fraction is None else format_percent(fraction)


def format_counts(processed: int, total: int | None, fraction: float | None) -> str:
    """`45 of 200 (22%)`, or the counter alone while the service has not counted."""
    counts = f"{processed} processed" if total is None else f"{processed} of {total}"
    return counts if fraction is None else f"{counts} ({format_percent(fraction)})"


def format_status(status: str | None) -> str:
    """The service's word, and a word of our own where it sends null."""
    return "unknown" if status is None else cleaned(str(status))


def describe_step(progress: Progress[Any]) -> str:
    """One step of a wait as one line."""
    status = format_status(progress.status)
    if progress.paused_since is not None:
        status = f"{status} since {format_moment(progress.paused_since)}"
    parts = [status]
    if has_counts(progress.action):
        parts.append(format_counts(progress.n_objects_processed, progress.n_objects, progress.fraction))
    if not progress.is_final and progress.paused_since is None:
        if progress.rate is not None:
            parts.append(format_rate(progress.rate))
        if progress.eta is not None:
            parts.append(f"{format_seconds(progress.eta.total_seconds())} left")
    return f"{progress.ref}: {', '.join(parts)}"


def describe_row(action: Job) -> str:
    """One action of a list as one line. The ref, whole and last, can be copied, or cut out by `awk '{print $NF}'`."""
    created = getattr(action, "date_created", None)  # rows of older servers may lack it
    parts = [
        format_status(action.status).ljust(11),
        _format_counts_of(action).ljust(22),
        ("" if created is None else format_moment(created)).ljust(20),
        str(action.ref),
    ]
    return "  ".join(parts)


def describe_state(action: Job) -> str:
    """Status and counters: `processing, 40 of 100 (40%)`."""
    return ", ".join(filter(None, (format_status(action.status), _format_counts_of(action))))


def _format_counts_of(action: Job) -> str:
    if not has_counts(action):
        return ""
    return format_counts(*count_objects(action), fraction_of(action))


def fraction_of(job: Job) -> float | None:
    """How much of a job is done, by one snapshot; between 0.0 and 1.0, None while the service has not counted."""
    processed, total = count_objects(job)
    return 1.0 if job.is_done else min(1.0, processed / total) if total else None


def estimate_left(job: Job, *, now: datetime) -> float | None:
    """Seconds that a job still takes if it goes on as it did between the two dates that the service gives.

    None where nothing can be said: it does not run, has no total, nothing was processed, or by this guess it would have
    ended before now. A rough guess, since time in a queue or at rest counts as work; a wait, which sees the counter
    move, measures better.
    """
    created, updated = (getattr(job, name, None) for name in ("date_created", "date_updated"))
    processed, total = count_objects(job)
    if job.phase is not Phase.RUNNING or total is None or not processed or created is None or updated is None:
        return None
    worked = (updated - created).total_seconds()
    if worked <= 0:
        return None
    passed = max(0.0, (now - updated).total_seconds())  # clocks differ: the service's may be ahead
    left = max(0, total - processed) / processed * worked - passed
    return left if left >= 0 else None
