"""The table of open questions, and the report of a run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.contract.exchanges import Ask, Exchange
from tests.contract.report import answers, make_report, shape_of, summary
from tests.contract.unknowns import UNKNOWNS, Unknown
from tests.contract.verdicts import State, masked, prefixes, quoted

if TYPE_CHECKING:
    from tests.contract.starting import Started
    from tests.contract.survey import Record

OF_A_START = ("pause", "resume", "late pause", "visibility")


def answer(body: bytes, status: int = 400) -> Exchange:
    """An answer with that body."""
    return Exchange(ask=Ask.get("/me/"), status=status, headers=(), body=body, at=datetime(2026, 1, 15, tzinfo=UTC))


def test_each_question_has_a_name_of_its_own() -> None:
    """By which the report and the documentation call it."""
    names = [unknown.name for unknown in UNKNOWNS]
    assert len(names) == len({*names})
    assert all(unknown.question.endswith("?") for unknown in UNKNOWNS)


@pytest.mark.parametrize("unknown", UNKNOWNS, ids=lambda unknown: unknown.name)
def test_the_place_of_an_assumption_exists(unknown: Unknown) -> None:
    """`module:name` below the package."""
    module, _, name = unknown.place.partition(":")
    assert hasattr(import_module(f"closebulk_async.{module}"), name)


def test_the_report_names_every_question(record: Record) -> None:
    """With what is taken to be so, where, and what the run says; each once."""
    lines = make_report([record]).splitlines()
    for unknown in UNKNOWNS:
        (row,) = [line for line in lines if line.startswith(f"| **{unknown.name}**: ")]
        assert unknown.question in row
        assert f"`{unknown.place}`" in row
        assert any(f"*{state}*: " in row for state in State)


def test_the_report_sets_two_services_side_by_side(record: Record) -> None:
    """One column for each."""
    report = make_report([record, attrs.evolve(record, service="another")])
    head = next(line for line in report.splitlines() if line.startswith("| question "))
    assert head == f"| question | taken to be so | where | {record.service} | another |"
    assert f"## Shapes: {record.service}" in report
    assert "## Shapes: another" in report


def test_the_report_shows_names_and_no_values(record: Record) -> None:
    """No id, no address, no text of a customer's, no key and no link."""
    report = make_report([record]) + "\n".join(answers(record)) + summary(record)
    values = {
        str(value)
        for row in (*record.all_rows, *record.plain["webhook: list"].rows, *record.plain["export: list"].rows)
        for name, value in row.items()
        if isinstance(value, str)
        and (name.endswith("_id") or name in ("id", "created_by", "sender", "url", "download_url"))
    }
    assert len(values) >= 5 or record.service != "simulator"
    assert sum(value in report for value in values) == 0
    assert re.findall(r"[A-Za-z0-9]{30,}|@", report) == []


def test_reading_settles_nothing_about_starts(record: Record) -> None:
    """Until one was made."""
    bare = attrs.evolve(record, started=None)
    states = {unknown.name: unknown.judge(bare).state for unknown in UNKNOWNS}
    assert {states[name] for name in OF_A_START} == {State.UNREAD}
    assert State.SETTLED in states.values()


def test_a_start_settles_what_it_is_for(record: Record, started: Started) -> None:
    """Verb, resuming, what is refused and how soon it is seen."""
    whole = attrs.evolve(record, started=started)
    verdicts = {unknown.name: unknown.judge(whole) for unknown in UNKNOWNS}
    assert {verdicts[name].state for name in OF_A_START} == {State.SETTLED}
    assert verdicts["pause"].text.startswith("PUT on the item: ")


def test_a_verb_that_is_not_known_there_settles_nothing(record: Record, started: Started) -> None:
    """Three verbs that were answered with 404 or 405 leave the question open; the third one settles it otherwise."""
    (pause, *_) = started.pauses
    lost = attrs.evolve(pause, status=405, body=b'{"error": "Method Not Allowed"}')
    other = attrs.evolve(pause, ask=attrs.evolve(pause.ask, method="PATCH"))
    (unknown,) = [unknown for unknown in UNKNOWNS if unknown.name == "pause"]

    def settle(*pauses: Exchange) -> tuple[State, str]:
        trial = attrs.evolve(started, pauses=pauses)
        verdict = unknown.judge(attrs.evolve(record, started=trial))
        return verdict.state, verdict.text

    assert settle(lost, lost, lost)[0] is State.OPEN
    state, text = settle(lost, other)
    assert state is State.SETTLED
    assert "PUT on the item: 405: Method Not Allowed; PATCH on the item: 200" in text
    assert "not PUT, as the package does" in text


def test_an_empty_account_leaves_questions_open(record: Record) -> None:
    """No question fails for want of an action, an export or a webhook, and none is settled by nothing."""
    empty = answer(b'{"data": [], "has_more": false}', 200)
    plain = {name: empty if name.endswith(": list") else exchange for name, exchange in record.plain.items()}
    plain = {name: exchange for name, exchange in plain.items() if not name.endswith("item") and "history" not in name}
    bare = attrs.evolve(record, plain=plain, started=None)
    states = {unknown.name: unknown.judge(bare).state for unknown in UNKNOWNS}
    for name in (
        "edit ids",
        "sequence ids",
        "export ids",
        "list order",
        "n_docs",
        "links",
        "signature key",
        "failures",
    ):
        assert states[name] is State.OPEN, name


def test_a_service_that_refuses_leaves_questions_open(record: Record) -> None:
    """Answers in other words than those that are known are quoted, and settle no number."""
    odd = answer(b'{"errors": ["No."], "field-errors": {"_limit": "Too much."}}')
    bare = attrs.evolve(record, plain=dict.fromkeys(record.plain, odd), started=None)
    verdicts = {unknown.name: unknown.judge(bare) for unknown in UNKNOWNS}
    for name in ("max_limit", "max_skip", "untyped search"):
        assert verdicts[name].state is State.OPEN
        assert "400: No.; _limit: Too much." in verdicts[name].text


def test_answers_of_no_known_kind_leave_questions_open(record: Record) -> None:
    """Whatever they hold: there is a report all the same."""
    for body in (b"[]", b"null", b"<html>", b'{"data": [{}, 1], "count": []}', b'{"data": [{"date_created": "x"}]}'):
        bare = attrs.evolve(record, plain=dict.fromkeys(record.plain, answer(body, 200)), started=None)
        report = make_report([bare])
        assert all(f"| **{unknown.name}**: " in report for unknown in UNKNOWNS)


def test_ids_are_told_by_their_beginnings() -> None:
    """Words before letters and digits, not the latter."""
    ids = ["bulkedit_" + "a" * 43, "bulk_edit_" + "B9" * 20, "short_1", None]
    assert prefixes(ids) == ["bulk_edit_", "bulkedit_"]


def test_texts_of_a_service_are_masked() -> None:
    """What looks like an id or an address is not repeated."""
    text = 'Object "lead_abcdefghijklmnop" of ada@example.com\n is gone.'
    assert masked(text) == 'Object "{id}" of {address} is gone.'
    assert quoted(answer(b"<html>", 502)) == "502: 6 bytes without a text"


def test_shapes_are_keys_and_types() -> None:
    """Of lists, those of all items together; keys of a customer's are not shown."""
    rows = [{"a": 1, "b": None, "custom": {"Shoe size": 9}}, {"a": "x", "custom": None}]
    assert shape_of(rows) == "[{a: integer or text, b?: null, custom: null or object}]"
    assert shape_of({"d": [], "e": 1.5, "f": True}) == "{d: [], e: number, f: true or false}"
    assert shape_of({"custom.cf_abcdefghijklmnop": "x"}) == "{custom.{id}: text}"
