"""Fingerprints: an action is recognised by what it shows of its start, however the service spells that."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import DeleteStart, EditStart, EmailStart, Query, SequenceStart, by_id, contact, lead
from closebulk_async.errors import InvalidRequestError
from closebulk_async.fingerprints import echoed_fields, fingerprint_of, fingerprint_of_action, may_come_from
from closebulk_async.models import BULK_KINDS, BulkDelete, BulkEdit, BulkEmail, BulkObjectType, ContactPreference, Kind
from closebulk_async.simulator import Job, Plan
from closebulk_async.simulator.kinds import KINDS as SIMULATED
from closebulk_async.starts import RULES
from closebulk_async.wire import KINDS
from tests.stage import KEYWORDS, QUERY
from tests.strategies import json_objects, patient

if TYPE_CHECKING:
    from closebulk_async.models import BulkAction
    from closebulk_async.starts import Start

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
CLASSES: dict[Kind, type[Start]] = {
    Kind.EMAIL: EmailStart,
    Kind.DELETE: DeleteStart,
    Kind.EDIT: EditStart,
    Kind.SEQUENCE_SUBSCRIPTION: SequenceStart,
}

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "contact_preference": st.sampled_from([ContactPreference.LEAD, ContactPreference.CONTACT]),
    "bulk_object_type": st.sampled_from(list(BulkObjectType)),
    "custom_field_operation": st.sampled_from(["replace", "add", "remove"]),
    # Larger and smaller floats have more than one spelling.
    "custom_field_value": names | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(0.01, 1e9),
    "custom_field_values": st.lists(names, max_size=2),
    "calls_assigned_to": st.lists(names, max_size=2),
    "all_sequences": st.just(value=True),
}
"""What those keywords hold that are no names and no ids."""


@st.composite
def nodes(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A node with others below it."""
    below = draw(st.lists(inner, max_size=3))
    return {"type": draw(st.sampled_from(["and", "or"])), "queries": below, **draw(NEGATION)}


NEGATION: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional={"negate": st.booleans() | st.none()})
queries: st.SearchStrategy[dict[str, Any]] = st.recursive(st.just(QUERY) | json_objects, nodes, max_leaves=6)
COMMON = st.fixed_dictionaries(
    {},
    optional={
        "s_query": queries,
        "query": names,
        "results_limit": st.integers(1, 10**6),
        "sort": st.lists(json_objects, max_size=2),
        "send_done_email": st.booleans(),
        "extra": st.dictionaries(names.map("x-{}".format), names, max_size=2),
    },
)


@st.composite
def starts(draw: st.DrawFn, kind: Kind) -> Start:
    """A start of that kind that keeps the rules."""
    choice, rule = draw(st.sampled_from([(choice, rule) for (of, choice), rule in RULES.items() if of is kind]))
    given_ = {*rule.required, *(draw(st.sampled_from(sorted(group))) for group in rule.exactly_one_of)}
    if rule.at_least_one_of:
        given_.add(draw(st.sampled_from(sorted(rule.at_least_one_of))))
    given_ |= draw(st.sets(st.sampled_from(sorted(rule.allowed)))) if rule.allowed else set()
    if "all_sequences" in rule.known:
        given_ = {*given_ - {"sequence_id"}, "all_sequences"} if draw(st.booleans()) else {*given_, "sequence_id"}
        given_ -= {"all_sequences"} if "sequence_id" in given_ else set()
    cls: Any = CLASSES[kind]
    chosen = {cls.chooser: choice} if cls.chooser else {}
    own = {name: draw(VALUES.get(name, names)) for name in sorted(given_)}
    start: Start = cls(**chosen, **own, **draw(COMMON), allow_all=True)
    return start


@cache
def starts_of(kind: Kind) -> st.SearchStrategy[Start]:
    """Building a strategy takes longer than drawing from it."""
    return starts(kind)


def started(start: Start) -> BulkAction:
    """What the simulator shows of the job that this start has started."""
    job = Job(
        id="bulk_1",
        kind=SIMULATED[start.kind.value],
        request=start.body(),
        plan=Plan(),
        created_at=NOON,
        organization_id="orga_1",
        user_id="user_1",
    )
    shown = json.loads(json.dumps(job.snapshot(NOON)))
    action: BulkAction = KINDS[start.kind].model.from_dict(shown)
    return action


each_kind = pytest.mark.parametrize("kind", BULK_KINDS)


@each_kind
@patient
@given(data=st.data())
def test_an_action_has_the_fingerprint_of_its_start(kind: Kind, data: st.DataObject) -> None:
    """Whatever was sent and whatever was left out."""
    start = data.draw(starts_of(kind))
    assert fingerprint_of_action(started(start)) == fingerprint_of(kind, start.body())
    assert may_come_from(started(start), start.body())


@each_kind
@patient
@given(data=st.data())
def test_what_differs_in_a_field_that_is_shown_has_another_fingerprint(kind: Kind, data: st.DataObject) -> None:
    """One field of one start in the place of the other's: the fingerprint tells, unless both mean the same."""
    one, other = data.draw(starts_of(kind)).body(), data.draw(starts_of(kind)).body()
    name = data.draw(st.sampled_from(sorted(echoed_fields(kind))))
    changed = {**one, name: other.get(name)}
    shown = [getattr(started_from(kind, body), name) for body in (one, changed)]
    same = fingerprint_of(kind, one) == fingerprint_of(kind, changed)
    if name == "s_query":
        assert same or shown[0] != shown[1]
    else:
        assert same is (shown[0] == shown[1] and type(shown[0]) is type(shown[1]))


def started_from(kind: Kind, body: dict[str, Any]) -> BulkAction:
    """As `started`, from a body that is no start's."""
    shown = {known.name: body.get(known.name) for known in SIMULATED[kind.value].fields if known.echoed}
    defaults = {known.name: known.default for known in SIMULATED[kind.value].fields}
    value = {name: defaults[name] if value is None else value for name, value in shown.items()}
    if "custom_field_value" in value and not isinstance(value["custom_field_value"], str | None):
        value["custom_field_value"] = json.dumps(value["custom_field_value"])
    action: BulkAction = KINDS[kind].model.from_dict({"id": "bulk_1", **value})
    return action


@patient
@given(query=queries, seed=st.integers())
def test_a_query_in_another_spelling_is_the_same(query: dict[str, Any], seed: int) -> None:
    """The order of keys and of the nodes of `and` and `or`, a `negate` that is false, and nulls say nothing."""
    respelled = respell(query, random.Random(seed))
    assert email(s_query=query) == email(s_query=respelled)


def respell(node: Any, rng: random.Random) -> Any:  # noqa: ANN401 - any JSON
    """The same query, spelled otherwise."""
    if isinstance(node, list):
        return [respell(item, rng) for item in node]
    if not isinstance(node, dict):
        return node
    items = [(key, respell(value, rng)) for key, value in node.items()]
    if "negate" not in node and rng.random() < 0.5:
        items.append(("negate", False))
    if "unsaid" not in node:
        items.append(("unsaid", None))
    rng.shuffle(items)
    respelled = dict(items)
    if isinstance(respelled.get("queries"), list):
        rng.shuffle(respelled["queries"])
    return respelled


def email(**fields: Any) -> str:
    """The fingerprint of a bulk email with these fields."""
    return fingerprint_of(Kind.EMAIL, {"template_id": "tmpl_1", **fields})


OTHER = {"type": "text", "value": "other"}
A, B, C = (lead.name.full_words(word) for word in "abc")
CHOICES = lead.custom("cf_1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A & B & C, C & A & B),
        (A | B | C, B | C | A),
        ((A | B) & ~C, ~C & (B | A)),
        (A & contact.has(lead, B | C), contact.has(lead, C | B) & A),
        (CHOICES.has_any_term("x", "y"), CHOICES.has_any_term("y", "x")),
        (lead.created_by.is_any_of("user_1", "user_2"), lead.created_by.is_any_of("user_2", "user_1")),
        (by_id("lead_1", "lead_2"), by_id("lead_2", "lead_1")),
    ],
    ids=repr,
)
def test_a_query_that_was_built_in_another_order_is_the_same(one: Query, other: Query) -> None:
    """The order of what `&` and `|` join, of choices and of ids says nothing, however deep it stands."""
    assert one != other
    assert email(s_query=one.to_dict()) == email(s_query=other.to_dict())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "and", "queries": [QUERY]}, {"type": "or", "queries": [QUERY]}),
        ({"type": "and", "queries": [QUERY, OTHER]}, {"type": "and", "queries": [QUERY]}),
        ({"type": "and", "queries": [QUERY, QUERY]}, {"type": "and", "queries": [QUERY]}),
        ({**QUERY, "negate": True}, QUERY),
        ({**QUERY, "negate": True}, {**QUERY, "negate": False}),
        ({"type": "text", "value": "1"}, {"type": "text", "value": 1}),
        ({"type": "text", "value": True}, {"type": "text", "value": 1}),
        ({"type": "text", "value": ["a", "b"]}, {"type": "text", "value": ["b", "a"]}),
        ({"type": "text", "value": False}, {"type": "text"}),
        ((A & B).to_dict(), (A | B).to_dict()),
        ((A & (B | C)).to_dict(), ((A & B) | C).to_dict()),
        (contact.has(lead, A).to_dict(), lead.has(contact, A).to_dict()),
        ((A & ~B).to_dict(), (~A & B).to_dict()),
        ((contact.emails_count > 1).to_dict(), (contact.emails_count >= 1).to_dict()),
        ({"type": "from_to", "values": [1, 5]}, {"type": "from_to", "values": [5, 1]}),
        ({"type": "first_wins", "queries": [QUERY, OTHER]}, {"type": "first_wins", "queries": [OTHER, QUERY]}),
        ({"type": "text", "value": ""}, {"type": "text"}),
        ({"type": "first_wins", "": ["a", "b"]}, {"type": "first_wins", "": ["b", "a"]}),
        ({"type": ["and"], "queries": [QUERY, OTHER]}, {"type": ["and"], "queries": [OTHER, QUERY]}),
    ],
    ids=str,
)
def test_queries_that_mean_something_else_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Only what is known to say nothing is left out."""
    assert email(s_query=one) != email(s_query=other)


@each_kind
def test_what_is_shown_for_nothing_is_nothing(kind: Kind) -> None:
    """The service fills in what was not sent; a start that sends just that is the same."""
    plain = {name: value for name, value in KEYWORDS[kind].items() if name != "bulk_object_type"}
    filled: dict[str, Any] = {"query": None, "results_limit": None, "s_query": {}, "send_done_email": True, "sort": []}
    if kind is Kind.DELETE:
        filled["bulk_object_type"] = "lead"
    assert fingerprint_of(kind, plain) == fingerprint_of(kind, {**plain, **filled})


def test_edits_that_responses_cannot_tell_apart_have_the_same() -> None:
    """Their ids of fields, several values and operations are shown nowhere."""
    base = {"type": "set_custom_field", "s_query": QUERY}
    bodies = [
        {**base, "custom_field_id": "cf_1", "custom_field_values": ["a"]},
        {**base, "custom_field_id": "cf_2", "custom_field_values": ["b"], "custom_field_operation": "add"},
    ]
    assert len({fingerprint_of(Kind.EDIT, body) for body in bodies}) == 1


def test_what_a_row_does_not_show_counts_as_not_sent() -> None:
    """A service that leaves a field out says nothing about it."""
    row = BulkEmail.from_dict({"id": "bulkemail_1", "template_id": "tmpl_1", "s_query": QUERY})
    assert fingerprint_of_action(row) == email(s_query=QUERY)


@pytest.mark.parametrize(
    ("shown", "may_be"),
    [
        ({}, True),
        ({"s_query": {}, "query": "x", "sort": [{"a": 1}]}, True),
        ({"results_limit": 5, "send_done_email": False, "contact_preference": "lead"}, True),
        ({"template_id": None}, True),
        ({"template_id": "tmpl_2"}, False),
        ({"sender": "you@example.com"}, False),
    ],
    ids=str,
)
def test_an_action_that_contradicts_a_start_is_not_its(shown: dict[str, Any], *, may_be: bool) -> None:
    """Queries may be spelled otherwise and defaults filled in; what was sent as a word or an id comes back as it is."""
    body = {"template_id": "tmpl_1", "sender": "me@example.com", "s_query": QUERY, "query": "y", "sort": [{"b": 2}]}
    row = BulkEmail.from_dict({"id": "bulkemail_1", "template_id": "tmpl_1", "sender": "me@example.com", **shown})
    assert may_come_from(row, body) is may_be


def test_what_was_sent_as_nothing_or_comes_back_as_a_number_is_no_contradiction() -> None:
    """What the service shows for nothing is what was sent, and a number is the text that says it."""
    leads, contacts = (
        BulkDelete.from_dict({"id": "bulkdelete_1", "bulk_object_type": word}) for word in ("lead", "contact")
    )
    assert may_come_from(leads, {"bulk_object_type": None})
    assert not may_come_from(contacts, {"bulk_object_type": None})
    row = BulkEdit.from_dict({"id": "bulkedit_1", "type": "set_custom_field", "custom_field_value": 5})
    assert may_come_from(row, {"type": "set_custom_field", "custom_field_value": "5"})
    assert not may_come_from(row, {"type": "set_custom_field", "custom_field_value": "6"})


@pytest.mark.parametrize("value", [1e16, 1e-5, 7, True, ["a"]])
@pytest.mark.parametrize("shown", ["1e+16", "7", "True", None, 5, ["b"]])
def test_a_value_that_is_no_text_may_come_back_as_anything(value: object, shown: object) -> None:
    """The schema knows texts only: an action is not ruled out by what a number has become."""
    row = BulkEdit.from_dict({"id": "bulkedit_1", "type": "set_custom_field", "custom_field_value": shown})
    assert may_come_from(row, {"type": "set_custom_field", "custom_field_value": value})


def nested(levels: int) -> dict[str, Any]:
    """A query of so many levels."""
    query: dict[str, Any] = QUERY
    for _ in range(levels):
        query = {"type": "and", "queries": [query]}
    return query


@pytest.mark.parametrize("levels", [50, 120, 200, 900])
def test_a_start_that_is_nested_beyond_reason_is_refused(levels: int) -> None:
    """It has a fingerprint, or an error that says so, however little of the stack is left."""

    def below(depth: int) -> str:
        return below(depth - 1) if depth else email(s_query=nested(levels))

    digests = set()
    for depth in range(0, 600, 50):
        with suppress(InvalidRequestError):
            digests.add(below(depth))
    assert len(digests) == (levels <= 120)
    with pytest.raises(InvalidRequestError, match=r"^email: the request is nested too deeply$"):
        email(s_query=nested(2000))


@pytest.mark.parametrize("levels", [200, 300, 1000])
def test_a_row_that_is_nested_beyond_reason_is_nobodys(levels: int) -> None:
    """It is no reason to fail either: the list may hold what others have started."""
    tower: Any = 1
    for _ in range(levels):
        tower = [tower]
    row = attrs.evolve(BulkEdit.example(), custom_field_value=tower, sort=[{"a": tower}])
    assert fingerprint_of_action(row) != fingerprint_of_action(BulkEdit.example())
    assert fingerprint_of_action(row) == "" or levels < 1000
    assert may_come_from(row, {"type": row.type, "custom_field_value": "7"}) is False
