"""Queries in words: nothing is lost, nothing can be mistaken, and what excludes nobody is said first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from closebulk_async import Query, by_id, contact, contact_phone, lead, saved_search, text_search
from closebulk_async.condition_words import SHOWN, SHOWN_CHARACTERS
from closebulk_async.fields import ObjectFields, raw_field
from closebulk_async.guard import find_danger
from closebulk_async.query import And, Or
from closebulk_async.query_words import describe_query

from .query_trees import anything, trees
from .strategies import json_objects, patient, texts
from .test_query import LETTERS, build, expressions, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
"""A text of JSON."""

opportunity = ObjectFields("opportunity")
CALL = ObjectFields("call")


def unknown_inside(**keys: Any) -> dict[str, Any]:
    """A condition on a field of leads that has these keys."""
    field = {"type": "regular_field", "object_type": "lead", "field_name": "name"}
    return {"type": "field_condition", "field": field, **keys}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (lead.name.full_words("ACME Inc."), 'leads whose name has the words "ACME Inc."'),
        (~lead.name.phrase("a"), 'leads whose name does not have the phrase "a"'),
        (lead.name.beginning_of_words("a"), 'leads whose name has words that begin with "a"'),
        (lead.name.matches({"type": "text", "value": "a"}), 'leads whose name has the text "a"'),
        (
            lead.name.matches({"type": "text", "value": "a", "mode": "fuzzy"}),
            'leads whose name has the text "a" in the unknown mode "fuzzy"',
        ),
        (contact.emails_count > 1, "contacts whose number of email addresses is more than 1"),
        (~(contact.emails_count >= 1.5), "contacts whose number of email addresses is not at least 1.5"),
        (
            contact.emails_count.in_range(gt=1, lte=2),
            "contacts whose number of email addresses is more than 1 and at most 2",
        ),
        (
            ~contact.emails_count.in_range(gte=1, lt=2),
            "contacts whose number of email addresses is not (at least 1 and less than 2)",
        ),
        (lead.date_created.on_or_after(date(2024, 1, 1)), "leads whose date of creation is on or after 2024-01-01"),
        (
            ~lead.date_created.between(date(2024, 1, 1), date(2024, 1, 31)),
            "leads whose date of creation is not (on or after 2024-01-01 and before the end of 2024-01-31)",
        ),
        (
            lead.date_created.before(datetime(2024, 1, 1, tzinfo=UTC)),
            "leads whose date of creation is before 2024-01-01T00:00:00.000000+00:00",
        ),
        (lead.status_id.is_any_of("stat_1"), 'leads whose status is the status "stat_1"'),
        (~lead.created_by.is_any_of("a", "b"), 'leads whose creator is not one of the users "a", "b"'),
        (
            contact.lead_id.is_any_of("a", reference_type="lead"),
            'contacts whose lead is the object of the type lead "a"',
        ),
        (lead.updated_by.is_current_user(), "leads whose last editor is the owner of the key"),
        (~lead.url.exists(), "leads whose URL does not have a value"),
        (lead.custom("cf_1").is_true(), "objects whose custom field cf_1 is true"),
        (~lead.custom("cf_1").is_false(), "objects whose custom field cf_1 is not false"),
        (lead.custom("cf_1").has_any_term("a"), 'objects whose custom field cf_1 has the choice "a"'),
        (
            ~lead.custom("cf_1").has_any_term("a", "b"),
            'objects whose custom field cf_1 does not have any of the choices "a", "b"',
        ),
        (lead.field("shoe_size").exists(), "leads whose shoe_size has a value"),
        (lead.field("shoe size").exists(), 'leads whose "shoe size" has a value'),
        (
            raw_field({"type": "new", "n": 1}).exists(),
            'objects whose field of the unknown {"n":1,"type":"new"} has a value',
        ),
        (~lead.name.matches({"type": "new"}), 'leads whose name does not fulfill the unknown {"type":"new"}'),
        (by_id("lead_1"), 'objects with the id "lead_1"'),
        (~by_id("a", "b"), 'objects without any of the ids "a", "b"'),
        (by_id("a") | ~by_id("b"), 'objects with the id "a" or without the id "b"'),
        (saved_search("save_1"), 'objects shown by the saved search "save_1"'),
        (~text_search("a", mode="phrase"), 'objects without the phrase "a" in any field'),
        (CALL.every() & by_id("acti_1"), 'objects of the type call with the id "acti_1"'),
    ],
)
def test_each_kind_of_condition_has_words(query: Query, words: str) -> None:
    """A condition, and its opposite, read as a person would say them."""
    assert describe_query(query) in {words, f"perhaps every lead: nothing is surely excluded ({words})"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            lead.every()
            & lead.name.full_words("ACME")
            & lead.status_id.is_any_of("stat_1", "stat_2")
            & ~lead.has(contact, contact.title.phrase("CEO")),
            (
                'leads whose name has the words "ACME" and whose status is one of the statuses "stat_1", "stat_2" '
                'and (without a contact whose title has the phrase "CEO")'
            ),
        ),
        (lead.has(contact, contact.every()), "leads with a contact"),
        (
            lead.has(contact, Query.from_dict({})) & lead.name.exists(),
            "leads with a contact and whose name has a value",
        ),
        (
            lead.has(contact, ~contact.every() & contact.title.exists()),
            "leads with a contact not of the type contact and whose title has a value",
        ),
        (
            ~(lead.name.exists() | lead.url.exists()) & by_id("lead_1"),
            'leads not (whose name has a value or whose URL has a value) and with the id "lead_1"',
        ),
        (
            lead.has(contact, contact.has(contact_phone, contact_phone.phone.exists()) & contact.title.exists())
            | lead.name.exists(),
            (
                "leads (with a contact (with a phone number whose phone has a value) and whose title has a value) "
                "or whose name has a value"
            ),
        ),
        (
            lead.every() & contact.title.exists() & contact.has(opportunity, opportunity.field("value").exists()),
            "leads whose contact title has a value and (of a contact with an opportunity whose value has a value)",
        ),
        (lead.has(CALL, CALL.field("note").exists()), "leads with an object of the type call whose note has a value"),
        (And((lead.name.exists(),)), "leads whose name has a value"),
        (~And((~lead.name.exists(),)), "leads whose name has a value"),
        (Query.from_dict({"type": "not", "query": by_id("a").to_dict()}), 'objects without the id "a"'),
        (~Query.from_dict({"type": "not", "query": (~by_id("a")).to_dict()}), 'objects without the id "a"'),
    ],
)
def test_what_is_joined_reads_in_one_way(query: Query, words: str) -> None:
    """Brackets stand where what follows could be taken for a part of what comes before."""
    assert describe_query(query) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"type": "tomorrow", "n": 1}, 'objects matching the unknown {"n":1,"type":"tomorrow"}'),
        ({"type": "tomorrow", "n": 1, "negate": True}, 'objects not matching the unknown {"n":1,"type":"tomorrow"}'),
        (
            {"type": "id", "value": "a", "negate": "yes"},
            'objects matching the unknown {"negate":"yes","type":"id","value":"a"}',
        ),
        ({"type": "id", "value": "a", "boost": 2}, 'objects with the id "a" (with the unknown {"boost":2})'),
        (
            {"type": "or", "queries": [{"type": "id", "value": "a"}] * 2, "boost": 2, "negate": True},
            'objects without any of the ids "a", "a" (with the unknown {"boost":2})',
        ),
        (
            {"type": "and", "queries": [{"type": "id", "value": "a"}], "boost": 2},
            'objects (with the id "a") (with the unknown {"boost":2})',
        ),
        (
            {**lead.has(contact, contact.title.exists()).to_dict(), "boost": 2},
            'leads (with a contact whose title has a value) (with the unknown {"boost":2})',
        ),
        (
            unknown_inside(condition={"type": "exists", "soft": True}, boost=2),
            'leads whose name has a value (with the unknown {"soft":true}) (with the unknown {"boost":2})',
        ),
        (
            lead.date_updated.on_or_after({"type": "fixed_local_date", "value": "2024-01-01", "which": "end", "n": 1}),
            'leads whose date of the last update is on or after the end of 2024-01-01 (with the unknown {"n":1})',
        ),
        (
            lead.date_updated.before({"type": "offset", "days": 3}),
            'leads whose date of the last update is before the unknown {"days":3,"type":"offset"}',
        ),
    ],
)
def test_what_is_unknown_is_shown_and_said_to_be(query: Query | Mapping[str, Any], words: str) -> None:
    """Unknown types stand as JSON, and so do unknown keys, each beside that which it belongs to."""
    assert describe_query(query) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "every lead: nothing is excluded"),
        (lead.every(), "every lead: nothing is excluded"),
        (
            lead.name.exists() | ~lead.name.exists(),
            "every lead: nothing is excluded (leads whose name has a value or whose name does not have a value)",
        ),
        (contact.every(), "perhaps every lead: nothing is surely excluded (all contacts)"),
        (And(()), 'perhaps every lead: nothing is surely excluded (objects matching an empty "and")'),
        (~Or(()), 'perhaps every lead: nothing is surely excluded (objects not matching an empty "or")'),
        ({"negate": True}, "perhaps every lead: nothing is surely excluded (objects not matching an empty query)"),
        (
            {"query": {"type": "new"}},
            'perhaps every lead: nothing is surely excluded (objects matching the unknown {"query":{"type":"new"}})',
        ),
    ],
)
def test_what_excludes_nobody_is_said_first(query: Query | Mapping[str, Any], words: str) -> None:
    """The words begin with «every lead», or with «perhaps» where nobody knows what the service makes of it."""
    assert describe_query(query) == words


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ([], "must be a Query or a mapping"),
        (None, "must be a Query or a mapping"),
        ({"type": "id", "value": float("nan")}, "finite numbers only"),
        ({"type": "number_range", "gt": 10**5000}, "integer string conversion"),
    ],
    ids=["list", "none", "nan", "long"],
)
def test_what_cannot_be_sent_is_said_to_be_unknown(query: Any, reason: str) -> None:  # noqa: ANN401 - wrong on purpose
    """What is no JSON object at all has words as well, which give the reason."""
    words = describe_query(query)
    assert words.startswith("unknown, as it cannot be sent: ")
    assert reason in words


@pytest.mark.parametrize("depth", [1, 10, 100, 200, 400, 800, 5000])
@pytest.mark.parametrize("word", ["and", "has_related", "not", "tomorrow"])
def test_towers_have_words(word: str, depth: int) -> None:
    """However deep the nesting is, the words name what is at its end, or say that it is too deep."""
    node: dict[str, Any] = {"type": "id", "value": "at_the_end"}
    for _ in range(depth):
        keys: dict[str, dict[str, Any]] = {
            "and": {"queries": [node]},
            "has_related": {"this_object_type": "lead", "related_object_type": "lead", "related_query": node},
        }
        node = {"type": word, **keys.get(word, {"query": node})}
    words = describe_query(node)
    assert "at_the_end" in words or (depth > 10 and re.search("nested too deeply|more characters", words))


@pytest.mark.parametrize("more", [0, 1, 37])
def test_long_lists_are_cut_with_a_count(more: int) -> None:
    """The first values are all there; of the others, the number."""
    values = [f"v{index}" for index in range(SHOWN + more)]
    for query in (by_id(*values), lead.custom("cf_1").has_any_term(*values), lead.created_by.is_any_of(*values)):
        words = describe_query(query)
        assert ", ".join(f'"{value}"' for value in values[:SHOWN]) in words
        assert words.endswith(f", … and {more} more") is bool(more)


def test_long_joins_are_cut_with_a_count() -> None:
    """Of many conditions, those that are not told are counted."""
    each = [lead.field(f"field_{index}").exists() for index in range(SHOWN + 2)]
    words = describe_query(And(tuple(each)))
    assert f"whose field_{SHOWN - 1} has a value and … 2 more conditions" in words
    assert "… 1 more condition" in describe_query(Or(tuple(each[:-1])))


def test_long_texts_are_cut_with_a_count() -> None:
    """A text of any length ends in the words, and so does the JSON of what is unknown: both stay in quotes."""
    text = "x" * (SHOWN_CHARACTERS + 7)
    assert describe_query(by_id(text)) == f'objects with the id "{text[:-7]}" … and 7 more characters'
    words = describe_query({"type": "tomorrow", "text": f'"{text}'})
    assert STRING.sub("", words) == "objects matching the unknown  … and 38 more characters"


def values_in(node: object, *, key: str = "") -> Iterator[str]:
    """The values of a query, without the words of its grammar, for which there is English."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from values_in(value, key=name)
    elif isinstance(node, list):
        for value in node:
            yield from values_in(value, key=key)
    elif isinstance(node, str) and key not in {"type", "mode", "field_name", "which", "reference_type"}:
        yield node


def escaped(text: str) -> str:
    """The text as the JSON of printable characters has it."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in inside)


@patient
@given(tree=trees)
def test_every_value_is_mentioned(tree: dict[str, Any]) -> None:
    """Ids, texts, choices, moments and whatever stands in unknown keys: up to the cut, each is in the words."""
    words = describe_query(tree)
    assume(" more characters" not in words)
    for value in values_in(tree):
        plural = {"lead": "leads", "contact": "contact"}.get(value, "")
        assert escaped(value) in words or (plural and plural in words)


@patient
@given(tree=trees | anything.filter(lambda tree: isinstance(tree, dict)) | json_objects)
@example(tree={"type": "and", "queries": None})
@example(tree={"type": "field_condition", "field": 1, "condition": []})
def test_any_json_object_has_words(tree: dict[str, Any]) -> None:
    """They are one line of printable characters, and what the guard refuses is said to be every lead."""
    words = describe_query(tree)
    assert words.isprintable()
    assert words
    assert (find_danger(tree, None) is not None) is words.startswith(("every lead: ", "perhaps every lead: "))


def reversed_keys(node: object) -> object:
    """The same JSON, each object's keys the other way round."""
    if isinstance(node, Mapping):
        return {key: reversed_keys(node[key]) for key in reversed(node)}
    return [reversed_keys(item) for item in node] if isinstance(node, list) else node


@patient
@given(tree=trees | anything.filter(lambda tree: isinstance(tree, dict)))
def test_equal_queries_have_equal_words(tree: dict[str, Any]) -> None:
    """Whether it is a mapping or a Query, and in whatever order its keys are."""
    words = describe_query(tree)
    again: Any = reversed_keys(tree)
    assert describe_query(again) == words
    assert describe_query(Query.from_dict(tree)) == words


@patient
@given(text=texts.map("a{}".format))
@example(text='a" or whose name has a value')
@example(text="name or every lead: nothing is excluded")
@example(text="a\u202e\nb\x1b[2J")
def test_no_value_can_pass_for_words(text: str) -> None:
    """Whatever a value says, it stands in quotes that it cannot end: outside of them nothing changes."""
    made = {
        by_id(text): "objects with the id ",
        lead.name.phrase(text): "leads whose name has the phrase ",
        saved_search(text): "objects shown by the saved search ",
        lead.custom(f" {text}").exists(): "objects whose custom field  has a value",
        lead.field(f" {text}").exists(): "leads whose  has a value",
        ObjectFields(f" {text}").every() & by_id("a"): "objects of the type  with the id ",
        lead.created_by.is_any_of("a", reference_type=f" {text}"): "leads whose creator is the object of the type  ",
    }
    for query, outside in made.items():
        words = describe_query(query)
        assert STRING.sub("", words) == outside
        assert escaped(text) in words


@patient
@given(expression=expressions, true=st.frozensets(st.sampled_from(sorted(LETTERS))))
def test_the_words_mean_what_the_query_does(expression: tuple[Any, ...], true: frozenset[str]) -> None:
    """However it is nested and negated, read with «and» before «or» the words hold where the query does."""
    words = re.sub(r"^(?:perhaps )?every lead: .*? \((.*)\)$", r"\1", describe_query(build(expression)))
    said = words.removeprefix("objects ")
    for without, opens in (("with", ""), ("without", "not ")):
        said = re.sub(rf"\b{without} (?:the id|any of the ids) ((?:\"\w+\"(?:, )?)+)", rf"({opens}any_of(\1))", said)
    assert eval(said, {"any_of": lambda *ids: not true.isdisjoint(ids)}) is judge(expression, true)  # noqa: S307 - our own text
