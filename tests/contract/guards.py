"""What may be sent to a service that is not the simulator. Whatever is not named here is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from tests.contract.exchanges import Ask, Exchange

_ID = r"([A-Za-z0-9_-]+/)?"

READABLE = re.compile(
    "|".join(
        (
            r"/me/?",  # without its slash as well: what the service answers then is one of the questions
            r"/no_such_thing/",
            r"/bulk_action/",
            rf"/bulk_action/(email|edit|delete|sequence_subscription)/{_ID}",
            rf"/export/(lead/|opportunity/)?{_ID}",
            rf"/webhook/{_ID}",
            rf"/event/{_ID}",
        )
    )
)
"""The paths that may be read."""

SEARCH = "/data/search/"

_OF_A_SEARCH = frozenset({"query", "sort", "results_limit", "include_counts", "cursor", "_limit", "_fields"})

_SHOWN = ("id", "date_created")
"""The fields that a search may ask for: none that says anything about anybody."""


def judge_read(ask: Ask) -> str | None:
    """Why a request is not let through; None for one that only reads."""
    if ask.method == "GET" and READABLE.fullmatch(ask.path):
        return "a GET with a body" if ask.body else None
    if ask.method == "POST" and ask.path == SEARCH:
        return _judge_search(ask)
    return "only reads of a few paths are let through"


def _judge_search(ask: Ask) -> str | None:
    body = _read_json(ask.body)
    if not isinstance(body, dict) or not body.keys() <= _OF_A_SEARCH:
        return "a search whose body is not one of this suite's"
    fields = body.get("_fields", {})
    lists = list(fields.values()) if isinstance(fields, dict) else [fields]
    if not all(isinstance(names, list) and all(name in _SHOWN for name in names) for names in lists):
        return "a search for more than ids"
    return None


def _read_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


@attrs.define
class OneStart:
    """As `judge_read`, and lets one start through: this body, once. Of what it started, it may be paused and resumed.

    Which verb does that is one of the questions; any of three may be tried, and no more than `most_changes` times.
    """

    path: str
    body: Mapping[str, object] = attrs.field(repr=False)
    most_changes: int = 8
    n_starts: int = 0
    n_changes: int = 0
    started: str | None = None
    """The id of what it has started."""

    def judge(self, ask: Ask) -> str | None:
        """Why a request is not let through; None for one that is. Each one that is counts."""
        if ask.method == "POST" and ask.path == self.path:
            return self._judge_start(ask)
        if self.started is not None and ask.path == f"{self.path}{self.started}/" and ask.method in VERBS:
            return self._judge_change(ask)
        return judge_read(ask)

    def note(self, exchange: Exchange) -> None:
        """Take in an answer: that of the start names what may be paused."""
        if exchange.ask.method == "POST" and exchange.ask.path == self.path:
            found = exchange.row.get("id")
            self.started = found if isinstance(found, str) else None

    def _judge_start(self, ask: Ask) -> str | None:
        if self.n_starts:
            return "a second start"
        if _read_json(ask.body) != self.body:
            return "a start with another body than the one that was asked for"
        self.n_starts += 1
        return None

    def _judge_change(self, ask: Ask) -> str | None:
        if self.n_changes >= self.most_changes or _read_json(ask.body) not in CHANGES:
            return "more than pausing and resuming what was started"
        self.n_changes += 1
        return None


VERBS = ("PUT", "PATCH", "POST")
"""Those that might pause an action, in the order in which they are tried."""

CHANGES = ({"status": "paused"}, {"status": "resuming"})
