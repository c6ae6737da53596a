"""Queries: what is joined means what it says, and what is no query is refused where it is written."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import Query, by_id, contact, contact_phone, lead, raw, saved_search, text_search
from closebulk_async.conditions import Exists, RegularField
from closebulk_async.errors import InvalidRequestError
from closebulk_async.fields import NumberField
from closebulk_async.guard import find_danger
from closebulk_async.query import (
    And,
    ById,
    FieldCondition,
    HasRelated,
    ObjectType,
    Or,
    SavedSearch,
    TextSearch,
    to_query_dict,
)

from .strategies import patient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

A, B, C, D = (by_id(f"lead_{letter}") for letter in "abcd")


def means(node: Mapping[str, Any], true: frozenset[str]) -> bool:
    """Whether a query of ids holds where just these ids do."""
    queries = node.get("queries", ())
    found = {
        "id": lambda: node["value"] in true,
        "and": lambda: all(means(query, true) for query in queries),
        "or": lambda: any(means(query, true) for query in queries),
    }[node["type"]]()
    return found is not node.get("negate", False)


LETTERS = {"lead_a": A, "lead_b": B, "lead_c": C}
expressions: st.SearchStrategy[tuple[Any, ...]] = st.recursive(
    st.sampled_from([(letter,) for letter in LETTERS]),
    lambda inner: (
        st.tuples(st.just("~"), inner)
        | st.tuples(st.sampled_from("&|"), inner, inner)
        | st.tuples(st.just("spelled"), inner)
    ),
    max_leaves=8,
)


def build(expression: tuple[Any, ...]) -> Query:
    """The query of an expression."""
    match expression:
        case ("~", inner):
            return ~build(inner)
        case ("&", left, right):
            return build(left) & build(right)
        case ("|", left, right):
            return build(left) | build(right)
        case ("spelled", inner):
            plain = build(inner).to_dict()
            return Query.from_dict({"negate": False, **plain})
        case (letter,):
            return LETTERS[letter]
    raise AssertionError


def judge(expression: tuple[Any, ...], true: frozenset[str]) -> bool:
    """What the expression says, by Python's own operators."""
    match expression:
        case ("~", inner):
            return not judge(inner, true)
        case ("&", left, right):
            return judge(left, true) and judge(right, true)
        case ("|", left, right):
            return judge(left, true) or judge(right, true)
        case ("spelled", inner):
            return judge(inner, true)
        case (letter,):
            return letter in true
    raise AssertionError


@patient
@given(expression=expressions, true=st.frozensets(st.sampled_from(sorted(LETTERS))))
def test_operators_mean_what_they_say(expression: tuple[Any, ...], true: frozenset[str]) -> None:
    """However `&`, `|` and `~` are nested, the tree that is sent holds where the expression does."""
    sent = build(expression).to_dict()
    assert means(sent, true) is judge(expression, true)
    assert '"not"' not in json.dumps(sent)


def test_chains_are_one_node() -> None:
    """`a & b & c` is one `and` of three, in whatever way it is grouped, and so is `or`."""
    assert A & B & C & D == A & (B & (C & D)) == (A & B) & (C & D) == And((A, B, C, D))
    assert A | B | C | D == A | (B | (C | D)) == (A | B) | (C | D) == Or((A, B, C, D))
    assert Or((And((A, B)), And((C, D)))) == (A & B | C & D)


@pytest.mark.parametrize(
    "inner",
    [
        ~And((A, B)),
        Or((A, B)),
        Query.from_dict({"type": "and", "queries": [A.to_dict()], "boost": 2}),
        And(()),
    ],
    ids=repr,
)
def test_what_says_more_than_its_members_stays_a_node(inner: Query) -> None:
    """One that is negated, of the other type, with unknown keys or without members is not taken apart."""
    assert inner & C == And((inner, C))
    assert C & inner == And((C, inner))


def test_negation_is_a_key() -> None:
    """`~` says `negate: true`, twice it says nothing, and it turns what was read round as well."""
    assert (~A).to_dict() == {**A.to_dict(), "negate": True}
    assert ~~A == A
    for read, negated in ((False, True), (True, None)):
        turned = (~raw({"type": "tomorrow", "negate": read})).to_dict()
        assert turned.get("negate") is negated


@pytest.mark.parametrize("odd", [None, "true", 1])
def test_what_is_negated_in_an_unknown_way_is_negated_as_a_whole(odd: object) -> None:
    """Nobody knows what such a node matches; the opposite is said around it."""
    node = {"type": "id", "value": "lead_a", "negate": odd}
    assert (~Query.from_dict(node)).to_dict() == {"type": "and", "queries": [node], "negate": True}


@pytest.mark.parametrize("other", [{"type": "id"}, True, None, "lead", 1])
@pytest.mark.parametrize("join", [lambda a, b: a & b, lambda a, b: b & a, lambda a, b: a | b, lambda a, b: b | a])
def test_queries_join_with_queries_only(join: Callable[[Any, Any], Query], other: object) -> None:
    """What a condition written with `==` gives, a mapping or a text is refused, on either side."""
    with pytest.raises(TypeError):
        join(A, other)


@pytest.mark.parametrize("use", [bool, lambda query: not query, lambda query: query and B, lambda query: query or B])
def test_a_query_has_no_truth_value(use: Callable[[Query], object]) -> None:
    """`and`, `or` and `not` would forget one side without a word."""
    said = "a query has no truth value: join queries with & | ~, and write both bounds with in_range(gt=, lt=)"
    with pytest.raises(InvalidRequestError, match=f"^{re.escape(said)}$"):
        use(A)


def test_ids_are_joined_by_or() -> None:
    """One id is a node, several are an `or` of them."""
    assert A.to_dict() == {"type": "id", "value": "lead_a"}
    assert by_id("lead_a", "lead_b") == A | B


def test_other_queries_send_what_they_say() -> None:
    """Texts wherever they stand, with a mode and without, and Smart Views."""
    assert text_search("ACME").to_dict() == {"type": "text", "value": "ACME"}
    assert text_search("ACME", mode="phrase").to_dict() == {"type": "text", "value": "ACME", "mode": "phrase"}
    assert saved_search("save_1").to_dict() == {"type": "saved_search", "saved_search_id": "save_1"}


@pytest.mark.parametrize(
    "write",
    [
        by_id,
        lambda: by_id(""),
        lambda: by_id("lead_1", " "),
        lambda: by_id(["lead_1"]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: saved_search(""),
        lambda: text_search(""),
        lambda: text_search("x", mode=""),  # type: ignore[arg-type]  # wrong on purpose
        lambda: raw({}),
        lambda: raw({"type": ""}),
        lambda: raw({"type": ["and"]}),
        lambda: raw({"query": {"type": "id", "value": "lead_1"}}),
        lambda: raw([A.to_dict()]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: raw({"type": "x", "n": float("inf")}),
        lambda: raw({"type": "x", 1: 2}),  # type: ignore[dict-item]  # wrong on purpose
        lambda: Query.from_dict("ACME"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: And([A]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: Or((A, B.to_dict())),  # type: ignore[arg-type]  # wrong on purpose
        lambda: ObjectType(""),
        lambda: SavedSearch(7),  # type: ignore[arg-type]  # wrong on purpose
        lambda: FieldCondition(A, A),  # type: ignore[arg-type]  # wrong on purpose
        lambda: FieldCondition(RegularField("lead", "name"), A),  # type: ignore[arg-type]  # wrong on purpose
        lambda: FieldCondition(A, Exists()),  # type: ignore[arg-type]  # wrong on purpose
        lambda: HasRelated("", "contact", A),
        lambda: HasRelated("lead", "", A),
        lambda: ById("lead_1", negate="yes"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: HasRelated("lead", "contact", A.to_dict()),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_what_is_no_query_is_refused_where_it_is_written(write: Callable[[], Query]) -> None:
    """An empty or a wrong value fails at once, and not as a query that matches everything."""
    with pytest.raises(InvalidRequestError):
        write()


@pytest.mark.parametrize(
    ("cls", "parts"),
    [
        (ById, ["value"]),
        (ObjectType, ["object_type"]),
        (TextSearch, ["value"]),
        (FieldCondition, ["field", "condition"]),
        (HasRelated, ["this_object_type", "related_object_type", "related_query"]),
        (And, ["queries"]),
        (Or, ["queries"]),
        (SavedSearch, ["saved_search_id"]),
    ],
)
def test_a_query_has_all_of_its_parts(cls: type[Query], parts: list[str]) -> None:
    """None of them has a default that would stand for anything."""
    assert [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING] == parts


TOWER: dict[str, Any] = {"type": "and"}
TOWER["queries"] = [TOWER]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (by_id, "by_id: name at least one id"),
        (lambda: raw({"n": 1}), "a query says its type, and this one does not: {'n': 1}"),
        (lambda: Query.from_dict({"type": {1}}), "query.type is a set, which JSON does not know: {1}"),
        (lambda: to_query_dict({"type": {1}}), "query.type is a set, which JSON does not know: {1}"),
        (lambda: to_query_dict({"type": {1}}, name="s_query"), "s_query.type is a set, which JSON does not know: {1}"),
        (lambda: raw({"type": "x", "n": [math.inf]}), "query.n.0 is inf: JSON knows finite numbers only"),
        (lambda: raw({"a": {1: 2}}), "query.a has the key 1, and keys of JSON are texts"),
        (lambda: to_query_dict("ACME"), "query must be a Query or a mapping and is the str 'ACME'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Query.from_dict(TOWER), "query contains itself, or is nested too deeply"),
        (lambda: to_query_dict(TOWER), "query contains itself, or is nested too deeply"),
        (lambda: to_query_dict(TOWER, name="s_query"), "s_query contains itself, or is nested too deeply"),
    ],
)
def test_what_is_refused_is_called_by_its_name(write: Callable[[], object], said: str) -> None:
    """The message says what was wrong where; no error of Python's recursion hangs on it."""
    with pytest.raises(InvalidRequestError) as caught:
        write()
    assert str(caught.value) == said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_one_entrance_takes_both() -> None:
    """A query and a mapping become the JSON object, which is nobody else's."""
    mapping = {"type": "id", "value": "lead_a", "more": [(1, 2)]}
    assert to_query_dict(A) == {"type": "id", "value": "lead_a"}
    plain = to_query_dict(mapping)
    assert plain == {"type": "id", "value": "lead_a", "more": [[1, 2]]}
    plain["more"].clear()
    assert mapping["more"] == [(1, 2)]
    assert to_query_dict({}) == {}


@pytest.mark.parametrize("wrong", [None, "ACME", [A], 7, False, lead, lead.name, {"type": {1}}], ids=repr)
def test_the_entrance_names_what_it_refuses(wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """A list, a text or a field without a condition is no query."""
    with pytest.raises(InvalidRequestError, match="my_query"):
        to_query_dict(wrong, name="my_query")


def test_towers_are_refused() -> None:
    """A query that contains itself, or is nested beyond reason, ends as an error of this package."""
    loop: dict[str, Any] = {"type": "and"}
    loop["queries"] = [loop]
    tower: Query = A
    for _ in range(5000):
        tower = And((tower,))
    for use in (lambda: Query.from_dict(loop), lambda: to_query_dict(loop), lambda: to_query_dict(tower)):
        with pytest.raises(InvalidRequestError, match="nested too deeply"):
            use()


def test_queries_are_values() -> None:
    """Equal queries are one key of a dict, and others are not equal."""
    one = lead.name.phrase("a") & (contact.emails_count > 1)
    assert {one: 1}[lead.name.phrase("a") & (contact.emails_count > 1)] == 1
    different = [one, ~one, lead.name.phrase("a"), lead.name.full_words("a"), lead.url.phrase("a"), Or(one.queries)]  # type: ignore[attr-defined]  # `&` says no more than that it gives a query
    assert len(set(different)) == len(different)
    with pytest.raises(AttributeError):
        one.negate = True  # type: ignore[misc]  # a frozen value, on purpose


@pytest.mark.parametrize(
    ("query", "is_safe"),
    [
        (lead.name.full_words("ACME"), True),
        (~lead.custom("cf_1").exists(), True),
        (lead.every() & lead.date_created.before(date(2020, 1, 1)), True),
        (lead.has(contact, contact.has(contact_phone, contact_phone.phone.exists())), True),
        (lead.date_created.on_or_after(datetime(2026, 1, 1, tzinfo=UTC)), True),
        (lead.custom("cf_1", type=NumberField) <= 0, True),
        (saved_search("save_1") | text_search("ACME"), True),
        (raw({"type": "tomorrow", "n": 1}), True),
        (lead.every(), False),
        (lead.every() | lead.name.full_words("ACME"), False),
        (lead.name.exists() | ~lead.name.exists(), False),
        (Query.from_dict({}), False),
        (raw({"type": "tomorrow"}), False),
    ],
    ids=repr,
)
def test_the_guard_judges_what_is_built(query: Query, *, is_safe: bool) -> None:
    """A query that can exclude a lead passes; one that cannot is as dangerous as its JSON."""
    assert (find_danger(to_query_dict(query), None) is None) is is_safe
