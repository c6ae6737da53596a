"""Bodies that are no answers of the service's, each by its name: JSON that nobody means, and fields of other types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.models import MODEL_OF_KIND, Kind
from closebulk_async.webhook_models import Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPTH = 100_000

WRONG: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "an integer": 1,
    "a negative integer": -5,
    "a number": 1.5,
    "an empty text": "",
    "a text": "x",
    "a list": [],
    "an object": {},
    "a list of numbers": [1, None, "x"],
    "a huge integer": 2**64 - 1,
    "a smallest integer": -(2**63),
    "a huge number": 1e308,
    "a long text": "x" * 100_000,
    "the first year": "0001-01-01T00:00:00+00:00",
    "before the first year": "0001-01-01T00:00:00+23:59",
    "the last year": "9999-12-31T23:59:59.999999+00:00",
    "after the last year": "9999-12-31T23:59:59.999999-23:59",
    "a word of the service's": "paused",
    "an end": "done",
    "nested": {"data": [{"id": {"id": [[[{}]]]}}]},
    "nested lists": [[[[[]]]]],
    "a path": "../../me/",
    "control characters": "a\r\nX-A: 1\0\x7f\u2028\u202e",
}
"""What a field may hold instead of what belongs there."""

IDS: Mapping[str, Any] = {
    "empty": "",
    "a slash": "a/b",
    "up": "../../me",
    "up, encoded": "..%2f..%2fme",
    "a query": "a?b=c",
    "a fragment": "a#b",
    "a line end": "a\r\nb",
    "a trailing line end": "bulkemail_1\n",
    "NUL": "a\0b",
    "another script": "\u0430\u0661",
    "a colon": "email:x",
    "spaces": " a ",
    "a hundred thousand letters": "a" * 100_000,
    "a number": 5,
    "a list": ["bulkemail_1"],
}

RAW: Mapping[str, bytes] = {
    "lists in lists": b"[" * DEPTH + b"]" * DEPTH,
    "objects in objects": b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "lists without an end": b"[" * DEPTH,
    "a thousand lists": b"[" * 1000 + b"]" * 1000,
    "a query in queries": b'{"id":"bulkemail_1","status":"processing","s_query":'
    + b'{"type":"and","queries":[' * 450
    + b"]}" * 450
    + b"}",
    "an integer of five thousand digits": b'{"id":"bulkemail_1","status":"done","n_objects":' + b"9" * 5000 + b"}",
    "a number of five thousand digits": b"1" * 5000,
    "an exponent": b'{"id":"bulkemail_1","n_objects":1e999}',
    "NaN": b'{"id":"bulkemail_1","status":"done","n_objects":NaN}',
    "Infinity": b'{"id":"bulkemail_1","n_objects":-Infinity}',
    "keys that come twice": b'{"id":"a","id":"bulkemail_1","status":"done","status":"processing"}',
    "half of a pair": b'{"id":"bulkemail_1","status":"\\ud800"}',
    "half of a pair, as bytes": b'{"id":"bulkemail_1","status":"\xed\xa0\x80"}',
    "no UTF-8": b'{"id":"bulkemail_1","status":"\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"id":"bulkemail_1","status":"done"}',
    "UTF-16": '{"id":"bulkemail_1"}'.encode("utf-16"),
    "a trailing comma": b'{"id":"bulkemail_1",}',
    "a comment": b'{"id":"bulkemail_1"}//',
    "two values": b"{}{}",
    "a prototype": b'{"__proto__":{"id":"bulkemail_1"},"__class__":1,"__dict__":{},"extra":5,"kind":"x","ref":1}',
    "names of slots": b'{"id":"bulkemail_1","status":"done","extra":{"a":1},"unset":[],"is_done":true}',
    "a million keys": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "nothing": b"",
    "spaces": b" " * 1000,
    "HTML": b"<html>" + b"<p>" * 100_000,
}

PAGES: Mapping[str, Any] = {
    "data of no list": {"data": {"a": 1}, "has_more": False},
    "data of null": {"data": None, "has_more": False},
    "rows that are none": {"data": [1, None, "x", [], {}], "has_more": False},
    "a list": [],
    "more of nothing": {"data": [], "has_more": True},
    "more that is no boolean": {"data": [], "has_more": "yes", "cursor": 5, "cursor_next": [], "count": {"total": -1}},
    "counts that are none": {"count": {"total": 1e300, "limited": None}, "data": [], "cursor": ""},
    "a cursor of itself": {"data": [], "cursor": "a", "cursor_next": "a"},
}


def same_for_ever(row: Mapping[str, Any]) -> dict[str, Any]:
    """A page that is the same however often it is asked for, and that says that there are more."""
    hit = {"__object_type": "lead", "date_created": "2025-01-01T00:00:00+00:00", **row}
    return {"data": [hit], "has_more": True, "cursor": "a", "cursor_next": "b", "count": {"total": 10**9}}


def odd_rows(kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a kind, in each of which one field holds something else."""
    good = MODEL_OF_KIND[kind].example(id=f"bulk{kind}_1").to_dict()
    for field in attrs.fields(MODEL_OF_KIND[kind]):
        for name, wrong in WRONG.items():
            if field.name != "extra":
                yield f"{kind}: {field.name} is {name}", {**good, field.name: wrong}
    for name, wrong in IDS.items():
        yield f"{kind}: the id is {name}", {**good, "id": wrong}


def odd_webhooks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Subscriptions, likewise; `events` hold what is none as well."""
    good = Webhook.example(id="whsub_1").to_dict()
    for field in attrs.fields(Webhook):
        for name, wrong in WRONG.items():
            if field.name != "extra":
                yield f"webhook: {field.name} is {name}", {**good, field.name: wrong}
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    yield "webhook: an event that is deep", {**good, "events": [{"object_type": "lead", "extra_filter": deep}]}


EVENT: Mapping[str, Any] = {
    "id": "ev_1",
    "object_type": "lead",
    "action": "deleted",
    "object_id": "lead_1",
    "lead_id": "lead_1",
    "date_updated": "2025-01-01T00:00:00",
    "changed_fields": ["name"],
    "previous_data": {},
    "data": {},
    "user_id": "user_1",
}


def odd_events(action_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of an action, likewise."""
    meta = {"bulk_action_id": action_id}
    for field in [*EVENT, "meta"]:
        for name, wrong in WRONG.items():
            yield f"event: {field} is {name}", {**EVENT, "meta": meta, field: wrong}


TOKEN: Mapping[str, Any] = {
    "token_type": "Bearer",
    "access_token": "at_12345678",
    "expires_in": 3600,
    "refresh_token": "rt_12345678",
    "scope": "all.full_access offline_access",
    "organization_id": "orga_1",
    "user_id": "user_1",
}


def odd_tokens() -> Iterator[tuple[str, dict[str, Any]]]:
    """Answers of the token endpoint, likewise."""
    for field in TOKEN:
        for name, wrong in WRONG.items():
            yield f"token: {field} is {name}", {**TOKEN, field: wrong}


def dump(value: object) -> bytes:
    """As JSON."""
    return json.dumps(value).encode()
