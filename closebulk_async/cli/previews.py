"""A start in words, for whoever has to say yes to it. Pure, and plain text without control codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from closebulk_async.cli.texts import cleaned, format_number, printable
from closebulk_async.guard import find_danger
from closebulk_async.models import Kind, SequenceActionType
from closebulk_async.query_words import describe_query
from closebulk_async.wire import KINDS

if TYPE_CHECKING:
    from closebulk_async.counting import Preview

_DEEDS: Mapping[str, str] = MappingProxyType(
    {
        Kind.EMAIL: "Send the template {template_id} to {leads}",
        Kind.DELETE: "Delete {objects}{leads}",
        Kind.EDIT: "Edit {leads}: {type}",
        SequenceActionType.SUBSCRIBE: "Subscribe contacts of {leads} to {sequence}",
        SequenceActionType.PAUSE: "Pause the subscriptions of {leads} to {sequence}",
        SequenceActionType.RESUME: "Resume the subscriptions of {leads} to {sequence}",
        SequenceActionType.RESUME_FINISHED: "Resume the finished subscriptions of {leads} to {sequence}",
        SequenceActionType.REASSIGN: "Reassign the subscriptions of {leads} to {sequence}",
    }
)


def describe_leads(preview: Preview) -> str:
    """How many leads it acts on: `about 1 234 leads`, `ALL leads`, or that nobody can tell."""
    request, count = preview.request, preview.count
    limit = request.get("results_limit")
    cap = "" if limit is None else f"at most {format_number(limit)} of "
    if find_danger(request.get("s_query"), request.get("query")) is not None:
        return f"{cap}ALL leads" + ("" if count is None else f" (about {format_number(count)})")
    if count is None:
        return f"{cap}an unknown number of leads (Close cannot count a legacy query)"
    return f"about {format_number(count)} {'lead' if count == 1 else 'leads'}"


def describe_deed(preview: Preview) -> str:
    """What it does to them, as the beginning of a question."""
    request = preview.request
    objects = request.get("bulk_object_type")
    words = {
        "leads": describe_leads(preview),
        "objects": f"objects of the type {objects} of " if objects not in {None, "lead"} else "",
        "sequence": request.get("sequence_id") or "EVERY sequence",
        "template_id": request.get("template_id"),
        "type": request.get("type"),
    }
    return cleaned(_DEEDS[request.get("action_type") or preview.kind].format_map(words))


def describe_matches(request: Mapping[str, Any]) -> str | None:
    """What the query of a request matches, in words. None where there is but a legacy search text, words of its own.

    The same for an action as the service shows it: beside a legacy text, its `s_query` is empty.
    """
    s_query = request.get("s_query")
    return None if not s_query and request.get("query") is not None else describe_query(s_query or {})


def describe_preview(preview: Preview) -> str:
    """What it does, to what, how requests like it are told from others, and the whole request, on several lines."""
    body = json.dumps(preview.request, indent=2, ensure_ascii=False)
    matches = describe_matches(preview.request)
    lines = (
        describe_deed(preview),
        *([] if matches is None else [f"matches {matches}"]),
        f"fingerprint {preview.fingerprint}",
        f"POST {KINDS[preview.kind].path}",
        *(printable(line) for line in body.splitlines()),
    )
    return "\n".join(lines)


def preview_to_dict(preview: Preview) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "kind": str(preview.kind),
        "count": preview.count,
        "matches": describe_matches(preview.request),
        "fingerprint": preview.fingerprint,
        "request": preview.request,
    }
