"""Steps of a wait, made by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from closebulk_async import BulkEmail, JobRef, Progress

if TYPE_CHECKING:
    from closebulk_async import BulkAction

REF: JobRef[Any] = JobRef.parse("email:bulkemail_example")


def make_step(action: BulkAction | None = None, **changes: Any) -> Progress[Any]:
    """A step in the middle of an action: 40 of 100, 8 per second; `changes` are fields of Progress."""
    fields: dict[str, Any] = {
        "action": action or BulkEmail.example(),
        "n_objects_processed": 40,
        "n_objects": 100,
        "fraction": 0.4,
        "rate": 8.0,
        "eta": timedelta(seconds=7.5),
        "elapsed": timedelta(seconds=5),
        "polls": 3,
        "next_poll_in": timedelta(seconds=3),
        "stalled_for": timedelta(0),
        "paused_since": None,
    }
    return Progress(**{**fields, **changes})
