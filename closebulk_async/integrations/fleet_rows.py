"""A watch as a row: what the next poll needs to know, whichever process sends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.convert import format_datetime, parse_datetime
from closebulk_async.integrations.fleet_errors import error_from_json, error_to_json
from closebulk_async.models import MODEL_OF_KIND, Job, Kind
from closebulk_async.pace import Pace
from closebulk_async.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from closebulk_async.watches import Watch


@attrs.frozen
class Offset:
    """What the database's clock shows more than the monotonic one of this process."""

    seconds: float

    def renewed(self, now: float, *, asked: float, answered: float) -> Offset:
        """By an answer that it is `now` there: as it was, unless that can no longer be; clocks drift, and are set."""
        return Offset(min(max(self.seconds, now - answered), now - asked))

    def there(self, at: float | None) -> float | None:
        """An instant of this process, by the database's clock."""
        return None if at is None else at + self.seconds

    def here(self, at: float | None) -> float | None:
        """The way back."""
        return None if at is None else at - self.seconds


def action_of(kind: Kind, row: Mapping[str, Any]) -> Job | None:
    """The latest snapshot of a row; None where there was none yet."""
    return None if row["snapshot"] is None else MODEL_OF_KIND[kind].from_dict(row["snapshot"])


def meter_to_json(meter: Meter[Any], offset: Offset) -> dict[str, Any]:
    """What a meter holds beside the action."""
    plain = attrs.asdict(meter, recurse=False, filter=lambda field, _: field.name not in {"action", "pace"})
    for name in ("at", "since", "moved_at"):
        plain[name] = offset.there(plain[name])
    if meter.paused_since is not None:
        plain["paused_since"] = format_datetime(meter.paused_since)
    if meter.pace is not None:
        pace = attrs.asdict(meter.pace)
        plain["pace"] = {**pace, "first_at": offset.there(pace["first_at"]), "at": offset.there(pace["at"])}
    return plain


def meter_from_json(action: Job, plain: Mapping[str, Any], offset: Offset) -> Meter[Any]:
    """The meter that `meter_to_json` wrote."""
    fields: dict[str, Any] = {**plain, "action": action, "pace": None}
    for name in ("at", "since", "moved_at"):
        fields[name] = offset.here(fields[name])
    if fields["paused_since"] is not None:
        fields["paused_since"] = parse_datetime(fields["paused_since"])
    if (pace := plain.get("pace")) is not None:
        fields["pace"] = Pace(**{**pace, "first_at": offset.here(pace["first_at"]), "at": offset.here(pace["at"])})
    return Meter(**fields)


def restore(watch: Watch, row: Mapping[str, Any], offset: Offset) -> None:
    """Let `watch` know what the row says."""
    action = action_of(watch.ref.kind, row)
    if action is not None and row["meter"] is not None:
        watch.meter = meter_from_json(action, row["meter"], offset)
    watch.polled_at = offset.here(row["polled_at"]) or 0.0
    watch.failures = row["failures"]
    watch.silent_since = offset.here(row["silent_since"])
    watch.last_error = None if row["last_error"] is None else error_from_json(row["last_error"])


def poll_of(watch: Watch, offset: Offset, *, shown: Job | None, next_poll_at: float | None) -> dict[str, Any]:
    """What the last poll of `watch` has made of the row; the snapshot only where it is not `shown` there already."""
    meter, failure = watch.meter, watch.failure
    action = None if meter is None else meter.action
    is_news = action is not None and (shown is None or shown.to_dict() != action.to_dict())
    return {
        "id": watch.ref.id,
        "snapshot": action.to_dict() if action is not None and is_news else None,
        "meter": None if meter is None else meter_to_json(meter, offset),
        "polled_at": offset.there(watch.polled_at),
        "next_poll_at": offset.there(next_poll_at),
        "failures": watch.failures,
        "silent_since": offset.there(watch.silent_since) if watch.failures else None,
        "last_error": None if watch.last_error is None else error_to_json(watch.last_error),
        "failure": None if failure is None else error_to_json(failure),
        "failed_at": None if failure is None else offset.there(watch.polled_at),
        "is_final": watch.is_fresh and action is not None and action.is_final,
    }


def columns_of(polls: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The same for many, as arrays: one for each column."""
    return {name: [_cell(poll[name]) for poll in polls] for name in polls[0]}


def without_what_it_showed(poll: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    """In the place of a poll that the database refuses: a bad one, which says why."""
    return {
        **poll,
        "snapshot": None,
        "meter": None,
        "failures": poll["failures"] + 1,
        "silent_since": poll["silent_since"] or poll["polled_at"],
        "last_error": error_to_json(error),
        "failure": None,
        "failed_at": None,
        "is_final": False,
    }


def _cell(value: Any) -> Any:  # noqa: ANN401 - of whatever type the column is
    return json.dumps(value) if isinstance(value, dict) else value
