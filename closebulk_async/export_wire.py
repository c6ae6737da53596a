"""What an export is asked for, checked before anything is sent. Pure.

The vendor documents the bodies in prose only. What it does not foresee goes through `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, cast

import orjson

from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import Export, Kind
from closebulk_async.plain_json import to_plain_json
from closebulk_async.query import to_query_dict
from closebulk_async.wire import KINDS, Request, Response, read_action


class ExportFormat(StrEnum):
    """What the file holds."""

    CSV = "csv"
    JSON = "json"


class LeadExportType(StrEnum):
    """What a row of an export of leads is: a lead, a contact, or an opportunity with its lead."""

    LEADS = "leads"
    CONTACTS = "contacts"
    LEAD_OPPS = "lead_opps"


class DateFormat(StrEnum):
    """How dates are spelled in a CSV file.

    `original` is `2026-01-15 09:30:00.000000+00:00`, `iso8601` is `2026-01-15T09:30:00+00:00`, `excel` is
    `2026-01-15 09:30:00 AM`, in UTC.
    """

    ORIGINAL = "original"
    ISO8601 = "iso8601"
    EXCEL = "excel"


_WORDS: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"format": ExportFormat, "type": LeadExportType, "date_format": DateFormat}
)
_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "params": Mapping,
        "extra": Mapping,
        "query": str,
        "sort": Sequence,
        "fields": Sequence,
        "include_activities": bool,
        "include_smart_fields": bool,
        "include_addresses": bool,
        "include_custom_objects": bool,
        "send_done_email": bool,
    }
)


def build_lead_export(given: Mapping[str, Any]) -> Request:
    """Ask for an export of leads, by the keywords of `create_leads`. Raises InvalidRequestError.

    Not safe to repeat: the service has no idempotency key, and a second POST is a second file.
    """
    return _build_export("lead", given)


def build_opportunity_export(given: Mapping[str, Any]) -> Request:
    """Ask for an export of opportunities, by the keywords of `create_opportunities`, else as `build_lead_export`."""
    return _build_export("opportunity", given)


def _build_export(what: str, given: Mapping[str, Any]) -> Request:
    """A POST of what is not None; `extra` goes over the wire beside the keywords, and in the place of none."""
    sent = {name: value for name, value in given.items() if value is not None}
    _check_types(sent)
    _check_words(sent)
    _check_together(sent)
    if "s_query" in sent:
        sent["s_query"] = to_query_dict(sent["s_query"], name="s_query")
    extra = sent.pop("extra", {})
    if clash := sorted(extra.keys() & given.keys()):
        message = f"extra holds {', '.join(clash)}, which have keywords of their own"
        raise InvalidRequestError(message)
    try:
        plain = {name: to_plain_json(value, path=name) for name, value in {**sent, **extra}.items()}
        body = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError) as exc:  # an integer beyond 64 bits, half of a surrogate pair, a circle
        message = f"this cannot be sent as JSON: {exc}"
        raise InvalidRequestError(message) from exc
    return Request(method="POST", path=f"{KINDS[Kind.EXPORT].path}{what}/", body=body)


def _check_types(sent: Mapping[str, Any]) -> None:
    for name, value in sent.items():
        wanted = _TYPES.get(name, object)
        # A text is a sequence of characters, and never what is meant by several values.
        if not isinstance(value, wanted) or (wanted is Sequence and isinstance(value, str)):
            message = f"{name} must be a {wanted.__name__} and is the {type(value).__name__} {value!r}"
            raise InvalidRequestError(message)
    limit, fields = sent.get("results_limit", 1), sent.get("fields", ("id",))
    if type(limit) is not int or limit < 1:
        message = f"results_limit must be a positive integer and is {limit!r}"
        raise InvalidRequestError(message)
    if not fields:
        message = "fields is empty: leave it out for all fields"
        raise InvalidRequestError(message)
    if strange := [name for name in fields if not isinstance(name, str) or not name.strip()]:
        message = f"fields holds {strange[0]!r}, which is no name of a field"
        raise InvalidRequestError(message)


def _check_words(sent: Mapping[str, Any]) -> None:
    for name, words in _WORDS.items():
        if name in sent and sent[name] not in list(words):
            message = f"{name}={sent[name]!r} is not known: expected one of {', '.join(words)}"
            raise InvalidRequestError(message)


def _check_together(sent: Mapping[str, Any]) -> None:
    """What the vendor says of parameters that need each other."""
    is_csv, kind = sent.get("format") == ExportFormat.CSV, sent.get("type")
    problems = {
        "date_format needs format='csv': JSON has one spelling of dates": not is_csv and "date_format" in sent,
        # Smart fields of JSON, which are for leads only, need no rule of their own by this one.
        "format='json' needs type='leads', which holds contacts and opportunities": (
            not is_csv and kind not in {None, LeadExportType.LEADS}
        ),
        "include_activities needs format='json'": is_csv and sent.get("include_activities"),
    }
    if found := [problem for problem, is_there in problems.items() if is_there]:
        raise InvalidRequestError("; ".join(found))


def read_export(request: Request, response: Response) -> Export:
    """The export of an answer. Raises the APIError of its status, or DecodeError."""
    return cast("Export", read_action(Kind.EXPORT, request, response))
