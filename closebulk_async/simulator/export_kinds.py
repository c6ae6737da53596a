"""What may be exported as one table, and what goes together in the body of a POST.

The rules are those of the vendor's prose; no schema marks a field as required, and one that has to be sent here is a
guess.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .bodies import check_create
from .kinds import Field, Kind
from .refusals import refused_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .kinds import Json

_FIELDS = (
    Field("format", choices=("csv", "json"), required=True),
    Field("date_format", choices=("original", "iso8601", "excel")),
    Field("fields", types=(list,), items=str),
    Field("send_done_email", types=(bool,), default=True),
)
_FLAGS = ("include_activities", "include_addresses", "include_custom_objects", "include_smart_fields")

LEAD = Kind(
    "lead",
    family="export",
    id_prefix="expo_",
    fields=(
        *_FIELDS,
        Field("type", choices=("leads", "contacts", "lead_opps"), required=True),
        Field("query"),
        Field("results_limit", types=(int,)),
        Field("s_query", types=(dict,), default={}),
        Field("sort", types=(list,), items=dict, default=[]),
        *(Field(flag, types=(bool,), default=False) for flag in _FLAGS),
    ),
)
OPPORTUNITY = Kind(
    "opportunity", family="export", id_prefix="expo_", fields=(*_FIELDS, Field("params", types=(dict,), default={}))
)
EXPORT_KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (LEAD, OPPORTUNITY)})

EXPORT_ACTIONS = ("created", "updated", "completed")
"""All that happens to an export in the eyes of those who subscribe to events."""


def check_export(kind: Kind, body: Mapping[str, Json]) -> None:
    """Raise `RefusedError` unless the service would export by this body; unknown keys are ignored."""
    check_create(kind, body)
    if misfits := dict(_misfits(kind, body)):
        raise refused_fields(misfits)


def _misfits(kind: Kind, body: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What does not go together, by the field that is named; the rules are documented, the texts are not."""
    is_json, rows = body["format"] == "json", body.get("type")
    if is_json and body.get("date_format") is not None:
        yield "date_format", "Only CSV exports can have a date format."
    if kind is OPPORTUNITY:
        if body.get("s_query") is not None:
            yield "s_query", "Opportunities are exported by params, not by s_query."
        return
    if is_json and rows != "leads":
        yield "type", "JSON exports must be of type leads."
    if body.get("include_activities") and not (is_json and rows == "leads"):
        yield "include_activities", "Only JSON exports of leads can include activities."
    if body.get("include_smart_fields") and is_json and rows != "leads":
        yield "include_smart_fields", "Only JSON exports of leads and CSV exports can include smart fields."
