"""For each open question: what of a record answers it. Pure functions."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from closebulk_async.wire import PAUSE_METHOD, Response, server_time
from tests.contract.reads import CONDITIONS, KINDS
from tests.contract.verdicts import Verdict, listed, not_settled, prefixes, quoted, settled, unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.contract.exchanges import Exchange, Row
    from tests.contract.survey import Record

DOCUMENTED_EDITS = ("set_lead_status", "set_custom_field", "clear_custom_field")
UNCOUNTED = ("created", "loading")
LIFETIMES = ("X-Amz-Expires", "X-Goog-Expires", "Expires")
CLOSE_ENOUGH = 5.0
"""Seconds that an honest clock, the whole seconds of the header and a slow answer come to."""

NOT_HERE = (404, 405)


# Actions and their lists ------------------------------------------------------------------------------------------


def id_prefix(kind: str) -> Callable[[Record], Verdict]:
    """How ids of a kind begin."""

    def settle(record: Record) -> Verdict:
        rows = record.plain["export: list"].rows if kind == "export" else record.rows(kind)
        found = prefixes(row.get("id") for row in rows)
        return (
            settled(f"{listed(found)} ({len(rows)} looked at)") if found else not_settled(f"the account has no {kind}")
        )

    return settle


def list_order(record: Record) -> Verdict:
    """In which order lists are, by the dates of creation on their first pages."""
    orders = {kind: _order(record.rows(kind)) for kind in KINDS}
    known = {kind: order for kind, order in orders.items() if order}
    text = "; ".join(f"{kind}: {order}" for kind, order in known.items())
    if not known:
        return not_settled("no list has two actions of different dates")
    return settled(text) if len(known) == len(KINDS) else not_settled(f"{text}; the other lists are too short to tell")


def _order(rows: Sequence[Row]) -> str | None:
    dates = [datetime.fromisoformat(text) for row in rows if isinstance(text := row.get("date_created"), str)]
    pairs = list(pairwise(dates))
    if not any(one != other for one, other in pairs):
        return None
    if all(one >= other for one, other in pairs):
        return f"newest first ({len(dates)} rows)"
    return (
        f"oldest first ({len(dates)} rows)" if all(one <= other for one, other in pairs) else "by no date of creation"
    )


def largest(what: str) -> Callable[[Record], Verdict]:
    """The number in the text that refuses too large a page (`large`) or offset (`deep`)."""

    def settle(record: Record) -> Verdict:
        answers = {kind: record.plain[f"{kind}: {what}"] for kind in KINDS}
        found = {kind: _number(exchange) for kind, exchange in answers.items()}
        if None in found.values():
            return not_settled("; ".join(f"{kind}: {quoted(exchange)}" for kind, exchange in answers.items()))
        return settled("; ".join(f"{kind}: {number}" for kind, number in found.items()))

    return settle


def _number(exchange: Exchange) -> str | None:
    match = re.search(r"(?:max_limit|max_skip) = (\d+)|less than or equal to (\d+)", quoted(exchange))
    return match and (match[1] or match[2])


def answer_to(name: str, question: str) -> Callable[[Record], Verdict]:
    """What one read was answered, in the service's own words."""
    return lambda record: settled(f"{question}: {quoted(record.plain[name])}")


def one_list(record: Record) -> Verdict:
    """Whether there is a list of all kinds."""
    exchange = record.plain["list of all kinds"]
    return settled("there is one" if exchange.status == 200 else f"there is none ({quoted(exchange)})")


def without_slash(record: Record) -> Verdict:
    """What becomes of a path without its last slash."""
    exchange = record.plain["no slash"]
    target = urlsplit(exchange.header("location") or "")
    where = f"to {target.path}" if target.path else "nowhere"
    return settled(f"{exchange.status}, {where}{', on another host' if target.netloc else ''}")


def word_seen(kind: str, field: str, words: Iterable[str]) -> Callable[[Record], Verdict]:
    """Whether any action of a kind was started with one of these words; that one has none proves nothing."""

    def settle(record: Record) -> Verdict:
        seen = {row.get(field) for row in record.rows(kind)}
        if found := seen.intersection(words):
            return settled(f"actions with {field} {listed(found)} exist, so that the service takes it from somebody")
        return unread(f"the words of {field} seen are {listed(seen)}; another one would have to be sent")

    return settle


def newer_edits(record: Record) -> Verdict:
    """What edits of the types without a page show."""
    rows = [row for row in record.rows("edit") if row.get("type") not in DOCUMENTED_EDITS]
    if not rows:
        return unread("the account has no edit of these types; one would have to be started")
    shown = {str(row.get("type")): _filled(row, ("custom_field_name", "custom_field_value")) for row in rows}
    return not_settled("; ".join(f"{type_} shows {fields}" for type_, fields in shown.items()))


def reassigning(record: Record) -> Verdict:
    """What a `reassign` shows."""
    rows = [row for row in record.rows("sequence_subscription") if row.get("action_type") == "reassign"]
    if not rows:
        return unread("the account has no action of this type; one would have to be started")
    fields = ("calls_assigned_to", "from_phone_number_id", "sender_account_id", "sender_email", "sender_name")
    return not_settled(f"one shows {listed(_filled(row, (*fields, 'sequence_id')) for row in rows)}")


def _filled(row: Row, fields: Iterable[str]) -> str:
    return " and ".join(field for field in fields if row.get(field) is not None) or "none of its fields"


def final_words(record: Record) -> Verdict:
    """Which status words are there, and whether those that are taken for final are all counted."""
    words = listed(row.get("status") for row in record.all_rows)
    known = {"created", "loading", "processing", "done", "paused", "resuming", "error"}
    strange = {str(row.get("status")) for row in record.all_rows} - known
    text = f"the words seen are {words}" + (f"; not documented: {listed(strange)}" if strange else "")
    return not_settled(f"{text}; that an action stays as it is would have to be seen over days")


def early_counts(record: Record) -> Verdict:
    """Whether counts are null until an action is processing."""
    early = [row for row in record.all_rows if row.get("status") in UNCOUNTED]
    if not early:
        return not_settled("no action was created or loading at that moment")
    n = sum(row.get("n_objects") is None for row in early)
    return settled(f"n_objects is null for {n} of {len(early)} that were created or loading")


def told_failures(record: Record) -> Verdict:
    """What the event log has of an action that has failed."""
    exchange = record.plain.get("event: history of a failure")
    if exchange is None or not exchange.rows:
        return not_settled("the account has no action that failed and is still in the log (30 days)")
    told = [row for row in exchange.rows if isinstance(row.get("data"), dict) and row["data"].get("status") == "error"]
    actions = listed(row.get("action") for row in exchange.rows)
    return settled(f"its events are {actions}; {'one has' if told else 'none has'} the status error")


# Exports, webhooks, events ---------------------------------------------------------------------------------------


def export_counts(record: Record) -> Verdict:
    """Which keys exports have besides the three that are documented."""
    rows = record.plain["export: list"].rows
    if not rows:
        return not_settled("the account has no export")
    keys = {key for row in rows for key in row}
    counts = sorted(keys & {"n_docs", "n_docs_processed"})
    return settled(
        f"of the counters there {'are ' + listed(counts) if counts else 'is none'}; the keys are {listed(keys)}"
    )


def export_lists(record: Record) -> Verdict:
    """Whether exports have lists and items of their own kind."""
    names = ("export: list of leads", "export: list of opportunities", "export: item of leads")
    return settled("; ".join(f"{name[8:]}: {record.plain[name].status}" for name in names if name in record.plain))


def link_lifetime(record: Record) -> Verdict:
    """How long a link is good, as far as its own query says."""
    links = [link for row in record.plain["export: list"].rows if (link := row.get("download_url"))]
    if not links:
        return not_settled("the account has no export with a link")
    query = dict(parse_qsl(urlsplit(str(links[0])).query))
    name = next((name for name in LIFETIMES if query.get(name, "").isdecimal()), None)
    if name is None:
        return not_settled(f"the link does not say; the names in its query are {listed(query)}")
    number = float(query[name])
    seconds = number - record.plain["export: list"].at.timestamp() if name == "Expires" else number
    return settled(f"{seconds:.0f} s from the read, by its {name}")


def shown_key(record: Record) -> Verdict:
    """Whether a read of a webhook shows its signature key."""
    exchange = record.plain.get("webhook: item")
    if exchange is None:
        return not_settled("the account has no webhook that this key may see")
    in_list = any("signature_key" in row for row in record.plain["webhook: list"].rows)
    return settled(f"the list {'shows' if in_list else 'does not show'} it, the item {_shows_it(exchange)}")


def _shows_it(exchange: Exchange) -> str:
    return "shows it" if "signature_key" in exchange.row else "does not"


# Searches --------------------------------------------------------------------------------------------------------


def untyped_search(record: Record) -> Verdict:
    """Which objects a query finds that names no type."""
    totals = {name: _total(record.plain[f"search: {name}"]) for name in ("leads", "contacts", "untyped")}
    if None in totals.values():
        return not_settled(f"one of the counts was refused: {quoted(record.plain['search: untyped'])}")
    leads, contacts, found = (totals[name] or 0 for name in ("leads", "contacts", "untyped"))
    if contacts in (0, leads):
        return not_settled(f"leads and contacts cannot be told apart by their numbers ({leads} and {contacts})")
    words = {leads: "leads", contacts: "contacts", leads + contacts: "leads and contacts"}
    return settled(f"{words.get(found, 'something else')}: {found}, of {leads} leads and {contacts} contacts")


def _total(exchange: Exchange) -> int | None:
    count = exchange.row.get("count")
    return count.get("total") if isinstance(count, dict) else None


def conditions(record: Record) -> Verdict:
    """Whether the conditions are taken that the vendor's pages do not have."""
    answers = {name: record.plain[f"search: {name}"] for name in CONDITIONS}
    taken = {name: _total(exchange) is not None for name, exchange in answers.items()}
    refused = "; ".join(f"{name}: {quoted(answers[name])}" for name, is_taken in taken.items() if not is_taken)
    return settled(f"taken: {listed(name for name in taken if taken[name])}; refused: {refused or 'none'}")


# Headers and clocks ----------------------------------------------------------------------------------------------


def request_ids(record: Record) -> Verdict:
    """Whether any header names the request."""
    names = {name.lower() for exchange in record.exchanges for name, _ in exchange.headers}
    found = [name for name in names if re.search(r"request-?id|correlation|trace", name)]
    return settled(f"headers that name the request: {listed(found)}")


def limit_spelling(record: Record) -> Verdict:
    """How the header of rate limits is spelled, with every digit the same."""
    spellings = {
        re.sub(r"\d+", "9", f"{name}: {value}")
        for exchange in record.exchanges
        for name, value in exchange.headers
        if re.search(r"rate-?limit|retry-after", name.lower())
    }
    without = sum(exchange.header("ratelimit") is None for exchange in record.exchanges)
    return settled(f"{listed(spellings)}; {without} of {record.n_requests} answers are without")


def limit_groups(record: Record) -> Verdict:
    """The limits that the answers of each path have shown."""
    shown: dict[str, set[str]] = {}
    for exchange in record.exchanges:
        if match := re.search(r"limit=(\d+)", exchange.header("ratelimit") or ""):
            shown.setdefault(str(exchange.ask), set()).add(match[1])
    by_limit: dict[str, list[str]] = {}
    for place, limits in shown.items():
        by_limit.setdefault(" or ".join(sorted(limits, key=int)), []).append(place)
    text = "; ".join(f"{limit} for {listed(places)}" for limit, places in by_limit.items())
    return not_settled(f"limits per window are {text or 'not shown'}; which paths share one is not said")


def clock_difference(record: Record) -> Verdict:
    """How far this machine's clock is ahead of the service's."""
    exchange = record.plain["me"]
    headers = {name.lower(): value for name, value in exchange.headers}
    theirs = server_time(Response(status=exchange.status, headers=headers, body=b"", now=exchange.at))
    if theirs is None:
        return not_settled("the answers have no date")
    seconds = (exchange.at - theirs).total_seconds()
    return settled(f"{seconds:+.1f} s, of which the header's whole seconds are one")


# What only a start can tell --------------------------------------------------------------------------------------


def pausing(record: Record) -> Verdict:
    """By which verb an action was paused."""
    if record.started is None:
        return unread("an action would have to be started: --contract-start")
    tries = record.started.pauses
    text = "; ".join(f"{exchange.ask.method} on the item: {_outcome(exchange)}" for exchange in tries)
    if tries[-1].status in NOT_HERE:
        return not_settled(text)
    as_assumed = (
        "as the package does" if tries[-1].ask.method == PAUSE_METHOD else f"not {PAUSE_METHOD}, as the package does"
    )
    return settled(f"{text} ({as_assumed}); read again it was {record.started.after_pause}")


def resuming(record: Record) -> Verdict:
    """What resuming was answered."""
    if record.started is None:
        return unread("an action would have to be started: --contract-start")
    resumed = record.started.resumed
    return settled(
        f"{resumed.ask.method} on the item: {_outcome(resumed)}; read again it was {record.started.after_resume}"
    )


def visibility(record: Record) -> Verdict:
    """Whether a list that is read at once has the new action."""
    if record.started is None:
        return unread("an action would have to be started: --contract-start")
    place = record.started.place_in_list
    return settled("the first list did not show it" if place is None else f"the first list showed it in place {place}")


def late_pause(record: Record) -> Verdict:
    """What pausing an action was answered that had ended."""
    if record.started is None:
        return unread("an action would have to be started: --contract-start")
    exchange = record.started.late_pause
    return not_settled("the action did not end in time") if exchange is None else settled(_outcome(exchange))


def _outcome(exchange: Exchange) -> str:
    status = exchange.row.get("status")
    return f"{exchange.status}, an action that is {status}" if status else quoted(exchange)


def never(text: str) -> Callable[[Record], Verdict]:
    """What neither reading nor this suite's one start can tell."""
    return lambda _: unread(text)
