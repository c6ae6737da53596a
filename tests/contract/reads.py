"""All that is read with plain HTTP: names for what the assertions are about, and the requests behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from closebulk_async import lead
from tests.contract.exchanges import Ask, basic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.contract.exchanges import Exchange, Row

KINDS: Mapping[str, str] = {
    "email": "bulkemail_",
    "edit": "bulkedit_",
    "delete": "bulkdelete_",
    "sequence_subscription": "bulksequencesubscription_",
}
"""The four kinds, each with what an id of it may begin with."""

NOBODY = "0" * 43
"""The rest of an id that nothing has."""

LARGE, DEEP = 100_000, 100_000_000
"""A page and an offset that no list gives."""

WRONG_KEY = "api_no_such_key"

LEADS: Row = {"type": "object_type", "object_type": "lead"}
CONTACTS: Row = {"type": "object_type", "object_type": "contact"}
NONE: Row = {"type": "and", "queries": [LEADS, {"type": "id", "value": f"lead_{NOBODY}"}]}
UNTYPED: Row = {"type": "id", "value": f"lead_{NOBODY}", "negate": True}
"""All there is but one lead that does not exist, and no word about leads or contacts."""

OLDEST_FIRST = [
    {
        "direction": "asc",
        "field": {"type": "regular_field", "object_type": "lead", "field_name": "date_created"},
    }
]

CONDITIONS: Mapping[str, Row] = {
    "moments": lead.date_created.on_or_after(datetime(1970, 1, 1, tzinfo=UTC)).to_dict(),
    "beginnings": lead.name.beginning_of_words("no_such_name").to_dict(),
    "bounds": lead.addresses_count.in_range(gte=0, lte=1_000_000).to_dict(),
    "statuses": lead.status_id.is_any_of(f"stat_{NOBODY}").to_dict(),
}
"""Conditions that the vendor's pages do not have, as the package spells them."""

Named = tuple[str, Ask]


def plain_reads() -> Iterator[Named]:
    """What can be asked without knowing anything of the account."""
    yield "me", Ask.get("/me/")
    yield "no slash", Ask.get("/me")
    yield "no such path", Ask.get("/no_such_thing/")
    yield "list of all kinds", Ask.get("/bulk_action/")
    for kind, prefix in KINDS.items():
        yield from _list_reads(kind, f"/bulk_action/{kind}/", prefix)
    yield "email: limit that is no number", Ask.get("/bulk_action/email/", _limit="x")
    yield "email: skip that is no number", Ask.get("/bulk_action/email/", _skip="x")
    yield "email: skip below zero", Ask.get("/bulk_action/email/", _skip=-1)
    yield "email: unknown filter", Ask.get("/bulk_action/email/", _limit=1, no_such_filter=1)
    yield "edit: filter of emails", Ask.get("/bulk_action/edit/", _limit=1, template_id=f"tmpl_{NOBODY}")
    yield "email: filter by no template", Ask.get("/bulk_action/email/", _limit=1, template_id=f"tmpl_{NOBODY}")
    yield "export: list", Ask.get("/export/", _limit=10)
    yield "export: missing", Ask.get(f"/export/expo_{NOBODY}/")
    yield "export: list of leads", Ask.get("/export/lead/", _limit=1)
    yield "export: list of opportunities", Ask.get("/export/opportunity/", _limit=1)
    yield "webhook: list", Ask.get("/webhook/")
    yield "webhook: missing", Ask.get(f"/webhook/whsub_{NOBODY}/")
    yield from _event_reads()
    yield from _searches()


def _list_reads(kind: str, path: str, prefix: str) -> Iterator[Named]:
    yield f"{kind}: list", Ask.get(path)
    yield f"{kind}: first", Ask.get(path, _limit=1)
    yield f"{kind}: second", Ask.get(path, _limit=1, _skip=1)
    yield f"{kind}: narrowed", Ask.get(path, _limit=2, _fields="id,status,no_such_field")
    yield f"{kind}: large", Ask.get(path, _limit=LARGE)
    yield f"{kind}: deep", Ask.get(path, _skip=DEEP)
    yield f"{kind}: missing", Ask.get(f"{path}{prefix}{NOBODY}/")


def _event_reads() -> Iterator[Named]:
    yield "event: list", Ask.get("/event/")
    yield "event: first", Ask.get("/event/", _limit=1)
    yield "event: large", Ask.get("/event/", _limit=51)
    yield "event: skip", Ask.get("/event/", _skip=1)
    yield "event: odd filters", Ask.get("/event/", object_type="lead")
    yield "event: no date", Ask.get("/event/", date_updated__gt="yesterday")
    yield "event: of a type", Ask.get("/event/", object_type="bulk_action.email", action="created", _limit=5)
    yield "event: missing", Ask.get(f"/event/ev_{NOBODY}/")


def _searches() -> Iterator[Named]:
    yield "search: leads", Ask.search(query=LEADS, results_limit=0, include_counts=True)
    yield "search: contacts", Ask.search(query=CONTACTS, results_limit=0, include_counts=True)
    yield "search: untyped", Ask.search(query=UNTYPED, results_limit=0, include_counts=True)
    yield "search: none", Ask.search(query=NONE, results_limit=0, include_counts=True)
    for name, query in CONDITIONS.items():
        yield f"search: {name}", Ask.search(query=query, results_limit=0, include_counts=True)
    yield "search: page", Ask.search(query=LEADS, sort=OLDEST_FIRST, _limit=1)
    yield "search: no cursor", Ask.search(query=LEADS, sort=OLDEST_FIRST, _limit=1, cursor="no_such_cursor")
    yield "search: no query", Ask.search(results_limit=0, include_counts=True)
    yield "search: large", Ask.search(query=LEADS, results_limit=0, _limit=LARGE)


def further_reads(read: Mapping[str, Exchange]) -> Iterator[Named]:
    """What can be asked about what was found; nothing where there is no such thing in the account."""
    for kind in KINDS:
        for row in read[f"{kind}: list"].rows[:1]:
            path = f"/bulk_action/{kind}/{row.get('id')}/"
            yield f"{kind}: item", Ask.get(path)
            yield f"{kind}: narrowed item", Ask.get(path, _fields="id,status")
    templates = (row.get("template_id") for row in read["email: list"].rows)
    if template := next(filter(None, templates), None):
        yield "email: filter by a template", Ask.get("/bulk_action/email/", template_id=template)
    for row in read["export: list"].rows[:1]:
        yield "export: item", Ask.get(f"/export/{row.get('id')}/")
    for row in read["export: list of leads"].rows[:1]:
        yield "export: item of leads", Ask.get(f"/export/lead/{row.get('id')}/")
    for row in read["webhook: list"].rows[:1]:
        yield "webhook: item", Ask.get(f"/webhook/{row.get('id')}/")
    yield from _further_events(read)
    if cursor := read["search: page"].row.get("cursor"):
        yield "search: next page", Ask.search(query=LEADS, sort=OLDEST_FIRST, _limit=1, cursor=cursor)


def _further_events(read: Mapping[str, Exchange]) -> Iterator[Named]:
    if cursor := read["event: first"].row.get("cursor_next"):
        yield "event: second", Ask.get("/event/", _limit=1, _cursor=cursor)
    for row in read["event: first"].rows:
        yield "event: item", Ask.get(f"/event/{row.get('id')}/")
    for kind in KINDS:
        for row in read[f"{kind}: list"].rows[:1]:
            filters = {"object_type": f"bulk_action.{kind}", "object_id": row.get("id")}
            yield f"event: history of {kind}", Ask.get("/event/", **filters)
    failed = ((kind, row) for kind in KINDS for row in read[f"{kind}: list"].rows if row.get("status") == "error")
    for kind, row in list(failed)[:1]:
        filters = {"object_type": f"bulk_action.{kind}", "object_id": row.get("id")}
        yield "event: history of a failure", Ask.get("/event/", **filters)


def last_reads() -> Iterator[Named]:
    """What might make the service suspicious, once, when all else is known."""
    yield "wrong key", Ask(path="/me/", headers={"authorization": basic(WRONG_KEY)})
