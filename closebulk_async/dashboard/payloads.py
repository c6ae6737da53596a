"""What the dashboard knows, as JSON values. Nothing here holds a key, a token or a signed link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from closebulk_async.convert import format_datetime
from closebulk_async.models import Export, Job, Kind
from closebulk_async.query_words import describe_query as in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from closebulk_async.dashboard.board import Board, Changes, Link
    from closebulk_async.dashboard.cards import Card
    from closebulk_async.intents import Intent
    from closebulk_async.limits import GroupLimits, ShownLimit

LABELS: Mapping[Kind, str] = {
    Kind.EMAIL: "template_id",
    Kind.DELETE: "bulk_object_type",
    Kind.EDIT: "type",
    Kind.SEQUENCE_SUBSCRIPTION: "action_type",
}
"""The field that tells what an action of a kind does."""


def describe_time(moment: datetime | None) -> str | None:
    """ISO 8601 with an offset."""
    return None if moment is None else format_datetime(moment)


def describe_card(card: Card, *, since: int = 0) -> dict[str, Any]:
    """A row of the table, with the samples that came after a version."""
    job, label = card.job, LABELS.get(card.ref.kind)
    word = None if label is None else getattr(job, label, None)
    return {
        "ref": str(card.ref),
        "kind": card.ref.kind.value,
        "id": card.ref.id,
        "status": _plain(card.status),
        "phase": card.phase,
        "label": _plain(word),
        "processed": card.processed,
        "total": card.total,
        "fraction": card.fraction,
        "rate": card.rate,
        "eta": card.eta,
        "created_at": describe_time(getattr(job, "date_created", None)),
        "updated_at": describe_time(getattr(job, "date_updated", None)),
        "ended_at": describe_time(card.ended_at),
        "paused_since": describe_time(card.paused_since),
        "seen_at": describe_time(card.seen_at),
        "last_error": card.last_error,
        "failed_at": describe_time(card.failed_at),
        "error": card.error,
        "samples": [[round(sample.at, 3), sample.processed] for sample in card.samples_since(since)],
    }


def _plain(word: object) -> str | None:
    """A word of the service's: of an enum, its value."""
    return None if word is None else str(word)


def describe_link(link: Link) -> dict[str, Any]:
    """Whether Close answers."""
    return {
        "status": link.status,
        "message": link.message,
        "since": describe_time(link.since),
        "last_ok_at": describe_time(link.last_ok_at),
    }


def describe_limits(limits: Mapping[str, GroupLimits]) -> list[dict[str, Any]]:
    """The budget of each endpoint group: one entry for each limit of it, or one where only 429s tell of any."""
    return [_describe_limit(group, shown) for group in limits.values() for shown in group.shown or (None,)]


def _describe_limit(group: GroupLimits, shown: ShownLimit | None) -> dict[str, Any]:
    return {
        "group": group.group,
        "limit": None if shown is None else shown.limit,
        "remaining": None if shown is None else shown.remaining,
        "resets_at": None if shown is None else describe_time(shown.resets_at),
        "scope": None if shown is None else shown.scope,
        "n_throttled": group.n_throttled,
        "stopped_until": describe_time(group.stopped_until),
    }


def describe_starts(starts: Iterable[Intent] | None) -> list[dict[str, Any]] | None:
    """Open starts without an action; None without a durable journal."""
    return None if starts is None else [describe_intent(intent) for intent in starts]


def describe_intent(intent: Intent) -> dict[str, Any]:
    """A start, as the journal has it."""
    return {
        "intent": intent.id,
        "kind": intent.kind.value,
        "state": intent.state.value,
        "created_at": describe_time(intent.created_at),
        "idempotency_key": intent.idempotency_key,
        "ref": None if intent.ref is None else str(intent.ref),
    }


def describe_state(
    board: Board, changes: Changes, *, now: datetime, limits: Mapping[str, GroupLimits]
) -> dict[str, Any]:
    """What has changed since a version, or all there is; with `more`, a part of that."""
    return {
        "version": board.name_version(changes.place.cards),
        "reset": changes.is_reset,
        "more": not changes.is_whole,
        "now": describe_time(now),
        "actions": [describe_card(card, since=changes.since) for card in changes.cards],
        "removed": list(changes.removed),
        "close": describe_link(board.link),
        "limits": describe_limits(limits),
        "starts": describe_starts(board.starts),
        "forbidden": sorted(board.forbidden),
    }


def describe_tick(board: Board, *, now: datetime, limits: Mapping[str, GroupLimits]) -> dict[str, Any]:
    """What is told where nothing has changed."""
    return {"now": describe_time(now), "close": describe_link(board.link), "limits": describe_limits(limits)}


def describe_job(job: Job) -> dict[str, Any]:
    """An action as the service's own JSON. Of the link of an export it is only said that there is one.

    Whoever has the link has the file.
    """
    plain = job.to_dict()
    if isinstance(job, Export):
        return {name: bool(value) if _is_link(name, value) else value for name, value in plain.items()}
    return plain


def _is_link(name: str, value: object) -> bool:
    return name == "download_url" or (isinstance(value, str) and value.startswith(("http://", "https://")))


def describe_query(job: Job) -> dict[str, Any]:
    """Which leads an action is for: in words, as JSON, and in the old search language.

    There are no words where a legacy search says it, or where nobody does, as with many exports.
    """
    query: object = getattr(job, "s_query", None)
    legacy: str | None = getattr(job, "query", None) or None
    words = in_words(query) if isinstance(query, dict) and (query or not legacy) else None
    return {"words": words, "json": query, "legacy": legacy}
