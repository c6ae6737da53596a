"""What may be started: which keywords an action takes, what is refused before any request, and what is sent."""

from __future__ import annotations

import copy
import json
import pickle
from itertools import chain
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import Query, contact, lead, raw
from closebulk_async.errors import InvalidRequestError, UnsafeQueryError
from closebulk_async.models import BulkObjectType, ContactPreference, EditType, Kind, SequenceActionType
from closebulk_async.starts import RULES, DeleteStart, EditStart, EmailStart, SequenceStart, Start

from .strategies import json_objects, json_values, patient

Keywords: TypeAlias = dict[str, Any]

QUERY: Keywords = {"type": "text", "value": "ACME"}
ALL_LEADS: Keywords = {"type": "object_type", "object_type": "lead"}
EMAIL: Keywords = {"template_id": "tmpl_1", "email_account_id": "emailacct_1"}
SENDER: Keywords = {"sender_account_id": "emailacct_1", "sender_name": "Ada", "sender_email": "ada@example.com"}
SUBSCRIBE: Keywords = {**SENDER, "sequence_id": "seq_1", "contact_preference": "lead"}
BY_ID: Keywords = {"custom_field_id": "cf_1"}
BY_NAME: Keywords = {"custom_field_name": "Size"}

SETTERS = [word.value for word in EditType if word.value.startswith("set_") and word is not EditType.SET_LEAD_STATUS]
CLEARERS = [word.value for word in EditType if word.value.startswith("clear_")]
OTHERS = ["resume", "resume_finished", "pause"]

EDIT_VALUES: Keywords = {
    "lead_status_id": "stat_1",
    **BY_ID,
    **BY_NAME,
    "custom_field_value": "7",
    "custom_field_values": ["7"],
    "custom_field_operation": "add",
}
SEQUENCE_VALUES: Keywords = {**SUBSCRIBE, "calls_assigned_to": ["user_1"], "from_phone_number_id": "phon_1"}

GOOD: list[tuple[type[Start], Keywords]] = [
    (EmailStart, EMAIL),
    (EmailStart, {**EMAIL, "sender": "ada@example.com", "contact_preference": "all"}),
    (DeleteStart, {}),
    *((DeleteStart, {"bulk_object_type": word}) for word in BulkObjectType),
    (EditStart, {"type": "set_lead_status", "lead_status_id": "stat_1"}),
    *((EditStart, {"type": word, **field}) for word in CLEARERS for field in (BY_ID, BY_NAME)),
    *(
        (EditStart, {"type": word, **field, **value, **operation})
        for word in SETTERS
        for field in (BY_ID, BY_NAME)
        for value in ({"custom_field_value": "7"}, {"custom_field_values": ["7", "8"]})
        for operation in ({}, {"custom_field_operation": "remove"})
    ),
    (SequenceStart, {"action_type": "subscribe", **SUBSCRIBE}),
    (SequenceStart, {"action_type": "subscribe", **SEQUENCE_VALUES}),
    *((SequenceStart, {"action_type": word, "sequence_id": "seq_1"}) for word in OTHERS),
    (SequenceStart, {"action_type": "reassign", "sequence_id": "seq_1", "calls_assigned_to": ["user_1"]}),
    (SequenceStart, {"action_type": "reassign", "sequence_id": "seq_1", **SENDER}),
]

MISSING: list[tuple[type[Start], Keywords, str]] = [
    (EmailStart, {"email_account_id": "emailacct_1"}, "template_id"),
    (EmailStart, {"template_id": "tmpl_1"}, "email_account_id"),
    (EditStart, {"type": "set_lead_status"}, "lead_status_id"),
    *((EditStart, {"type": word}, "custom_field_id and custom_field_name") for word in CLEARERS + SETTERS),
    *((EditStart, {"type": word, **BY_ID, **BY_NAME}, "custom_field_id and custom_field_name") for word in CLEARERS),
    *((EditStart, {"type": word, **BY_ID}, "custom_field_value and custom_field_values") for word in SETTERS),
    *(
        (EditStart, {**EDIT_VALUES, "type": word, "lead_status_id": None}, "custom_field_value and custom_field_values")
        for word in SETTERS
    ),
    *((SequenceStart, {"action_type": "subscribe", **SUBSCRIBE, name: None}, name) for name in SUBSCRIBE),
    (SequenceStart, {"action_type": "reassign", "sequence_id": "seq_1"}, "calls_assigned_to"),
    (EditStart, {"type": None}, "type is missing"),
    (SequenceStart, {"action_type": None}, "action_type is missing"),
]


def foreign() -> list[tuple[type[Start], Keywords, str]]:
    """Each type of edit and of sequence action with each keyword that it has no use for."""
    found: list[tuple[type[Start], Keywords, str]] = []
    for cls, keywords in GOOD:
        if cls is EditStart:
            allowed = {"custom_field_operation"} if keywords["type"] in SETTERS else set()
            strange = [
                (name, value)
                for name, value in EDIT_VALUES.items()
                if name not in keywords and name not in allowed and not _is_alternative(name, keywords)
            ]
        elif keywords.get("action_type") in OTHERS:
            strange = [(name, value) for name, value in SEQUENCE_VALUES.items() if name != "sequence_id"]
        elif keywords.get("action_type") == "reassign":
            strange = [("contact_preference", "lead")]
        elif keywords.get("action_type") == "subscribe":
            strange = [("all_sequences", True)]
        else:
            continue
        found += [(cls, {**keywords, name: value}, name) for name, value in strange]
    return found


def _is_alternative(name: str, keywords: Keywords) -> bool:
    groups = ({*BY_ID, *BY_NAME}, {"custom_field_value", "custom_field_values"})
    return any(name in group and group & keywords.keys() for group in groups)


@pytest.mark.parametrize(("cls", "keywords"), GOOD)
def test_the_documented_keywords_are_sent_as_they_are(cls: type[Start], keywords: Keywords) -> None:
    """Each type of action takes what the table says, and its body is just that, each word a plain string."""
    start = cls(s_query=QUERY, **keywords)
    assert start.body() == {"s_query": QUERY, **keywords} == json.loads(start.to_json())


@pytest.mark.parametrize(("cls", "keywords", "named"), MISSING)
def test_a_missing_keyword_is_named(cls: type[Start], keywords: Keywords, named: str) -> None:
    """What the type needs and was not given stands in the error, which says for which type."""
    with pytest.raises(InvalidRequestError, match=named) as caught:
        cls(s_query=QUERY, **keywords)
    choice = keywords.get("type") or keywords.get("action_type")
    assert choice is None or choice in str(caught.value)


@pytest.mark.parametrize(("cls", "keywords", "named"), foreign())
def test_a_foreign_keyword_is_named(cls: type[Start], keywords: Keywords, named: str) -> None:
    """A keyword of another type would be ignored by the service, and so is refused."""
    with pytest.raises(InvalidRequestError, match=f"{named} does not belong to it"):
        cls(s_query=QUERY, **keywords)


def test_every_type_has_a_rule_and_every_keyword_a_use() -> None:
    """No word of an enum is without a rule, no keyword of a start without a rule that takes it."""
    assert RULES.keys() == {
        (Kind.EMAIL, None),
        (Kind.DELETE, None),
        *((Kind.EDIT, word) for word in EditType),
        *((Kind.SEQUENCE_SUBSCRIPTION, word) for word in SequenceActionType),
    }
    common = {field.name for field in attrs.fields(DeleteStart)} - {"bulk_object_type"}
    for cls in (EmailStart, DeleteStart, EditStart, SequenceStart):
        own = {field.name for field in attrs.fields(cls)} - common - {cls.chooser}
        assert own == set(chain.from_iterable(rule.known for (kind, _), rule in RULES.items() if kind is cls.kind))


@pytest.mark.parametrize("value", [False, 0, "", 0.0, [], {}, "x", ["x"], {"a": None}])
def test_falsy_values_of_a_custom_field_are_values(value: object) -> None:
    """False, 0 and the empty text are sent; only None is «not given»."""
    start = EditStart(type="set_custom_field", custom_field_id="cf_1", custom_field_value=value, s_query=QUERY)
    assert start.body()["custom_field_value"] == value
    assert type(start.body()["custom_field_value"]) is type(value)
    with pytest.raises(InvalidRequestError, match="custom_field_values"):
        EditStart(
            type="set_custom_field",
            custom_field_id="cf_1",
            custom_field_value=value,
            custom_field_values=[],
            s_query=QUERY,
        )


@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (EmailStart, {**EMAIL, "contact_preference": "everybody"}),
        (DeleteStart, {"bulk_object_type": "opportunity"}),
        (EditStart, {"type": "set_everything"}),
        (EditStart, {"type": ["set_lead_status"]}),
        (EditStart, {"type": "set_custom_field", **BY_ID, "custom_field_value": 1, "custom_field_operation": "swap"}),
        (SequenceStart, {"action_type": "stop"}),
        (SequenceStart, {"action_type": "subscribe", **SUBSCRIBE, "contact_preference": "all"}),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(cls: type[Start], keywords: Keywords) -> None:
    """A misspelt word is found before it is sent, and the error lists what is known."""
    with pytest.raises(InvalidRequestError, match="is not known: expected one of"):
        cls(s_query=QUERY, **keywords)


def test_members_of_enums_are_sent_as_their_words() -> None:
    """An enum's member and its word make the same bytes."""
    member = EmailStart(**EMAIL, contact_preference=ContactPreference.CONTACT, s_query=QUERY)
    assert member.to_json() == EmailStart(**EMAIL, contact_preference="contact", s_query=QUERY).to_json()
    assert b'"contact_preference":"contact"' in member.to_json()


@pytest.mark.parametrize("word", [*OTHERS, "reassign"])
def test_no_sequence_is_every_sequence_and_must_be_said(word: str) -> None:
    """Without `sequence_id` it reaches every sequence, which `all_sequences` means and `allow_all` does not."""
    more: Keywords = {"calls_assigned_to": ["user_1"]} if word == "reassign" else {}
    for allow_all in (False, True):
        with pytest.raises(UnsafeQueryError, match="all_sequences=True"):
            SequenceStart(action_type=word, s_query=QUERY, allow_all=allow_all, **more)
    start = SequenceStart(action_type=word, s_query=QUERY, all_sequences=True, **more)
    assert start.body() == {"action_type": word, "s_query": QUERY, **more}
    with pytest.raises(UnsafeQueryError, match="allow_all=True"):
        SequenceStart(action_type=word, all_sequences=True, **more)
    with pytest.raises(InvalidRequestError, match="contradict"):
        SequenceStart(action_type=word, sequence_id="seq_1", all_sequences=True, s_query=QUERY, **more)


@pytest.mark.parametrize(
    "queries",
    [{}, {"s_query": {}}, {"s_query": ALL_LEADS}, {"query": ""}, {"query": "*"}, {"s_query": QUERY, "query": ""}],
)
@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (EmailStart, EMAIL),
        (DeleteStart, {}),
        (EditStart, {"type": "clear_custom_field", **BY_ID}),
        (SequenceStart, {"action_type": "pause", "sequence_id": "seq_1"}),
    ],
)
def test_no_kind_reaches_every_lead_by_accident(cls: type[Start], keywords: Keywords, queries: Keywords) -> None:
    """A query that excludes nobody is refused for every kind unless `allow_all=True`, which is not sent."""
    with pytest.raises(UnsafeQueryError, match="allow_all=True"):
        cls(**keywords, **queries)
    assert cls(**keywords, **queries, allow_all=True).body() == {**keywords, **queries}


@pytest.mark.parametrize("allow_all", [False, True])
@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (EmailStart, EMAIL),
        (DeleteStart, {}),
        (EditStart, {"type": "clear_custom_field", **BY_ID}),
        (SequenceStart, {"action_type": "pause", "sequence_id": "seq_1"}),
    ],
)
def test_a_query_is_sent_as_its_json(cls: type[Start], keywords: Keywords, *, allow_all: bool) -> None:
    """A built query and its JSON object make equal starts, which show the JSON object."""
    query = lead.name.phrase("ACME") & ~lead.has(contact, contact.emails_count > 1) & raw({"type": "new", "n": 1})
    built = cls(s_query=query, **keywords, allow_all=allow_all)
    plain = cls(s_query=query.to_dict(), **keywords, allow_all=allow_all)
    assert built.to_json() == plain.to_json()
    assert built.s_query == plain.s_query == query.to_dict() == built.body()["s_query"]
    assert attrs.evolve(built, results_limit=5).body() == {**built.body(), "results_limit": 5}


@pytest.mark.parametrize("query", [lead.every(), lead.every() | lead.name.exists(), Query.from_dict({})], ids=repr)
def test_a_built_query_is_judged_as_any_other(query: Query) -> None:
    """One that excludes nobody is refused as its JSON object would be, and passes with `allow_all=True`."""
    with pytest.raises(UnsafeQueryError, match="allow_all=True"):
        DeleteStart(s_query=query)
    assert DeleteStart(s_query=query, allow_all=True).body() == {"s_query": query.to_dict()}


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"s_query": "ACME"}, "s_query"),
        ({"s_query": lead.name}, "s_query"),
        ({"s_query": lead}, "s_query"),
        ({"s_query": False}, "s_query"),
        ({"s_query": [QUERY]}, "s_query"),
        ({"query": 7}, "query"),
        ({"results_limit": 0}, "results_limit"),
        ({"results_limit": -1}, "results_limit"),
        ({"results_limit": 1.0}, "results_limit"),
        ({"results_limit": True}, "results_limit"),
        ({"sort": "name"}, "sort"),
        ({"sort": {"direction": "asc"}}, "sort"),
        ({"send_done_email": 0}, "send_done_email"),
        ({"send_done_email": "no"}, "send_done_email"),
        ({"allow_all": 1}, "allow_all"),
        ({"allow_all": None}, "allow_all"),
        ({"extra": [1]}, "extra"),
        ({"extra": {1: 2}}, "extra"),
        ({"template_id": ""}, "template_id"),
        ({"template_id": " "}, "template_id"),
        ({"template_id": 7}, "template_id"),
        ({"sender": ""}, "sender"),
    ],
)
def test_a_keyword_of_a_wrong_type_is_named(keywords: Keywords, named: str) -> None:
    """What the service would misread or ignore is refused by its name, and never taken for a flag that was set."""
    with pytest.raises(InvalidRequestError, match=f"email: {named}|{named} "):
        EmailStart(**{**EMAIL, "s_query": QUERY, **keywords})


@pytest.mark.parametrize("flag", [None, 1, "no", "false"])
def test_only_true_means_every_sequence(flag: object) -> None:
    """What is merely not False does not reach every sequence."""
    with pytest.raises(InvalidRequestError, match="all_sequences must be a bool"):
        SequenceStart(action_type="pause", s_query=QUERY, all_sequences=flag)  # type: ignore[arg-type]  # wrong on purpose


def test_a_text_is_no_list() -> None:
    """One user's id or one value where several belong is not sent as its characters."""
    with pytest.raises(InvalidRequestError, match="calls_assigned_to"):
        SequenceStart(action_type="subscribe", **SUBSCRIBE, calls_assigned_to="user_1", s_query=QUERY)
    with pytest.raises(InvalidRequestError, match="custom_field_values"):
        EditStart(type="set_custom_field", **BY_ID, custom_field_values="red", s_query=QUERY)


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(EditStart) if field.init])
def test_extra_cannot_smuggle_a_keyword(name: str) -> None:
    """Neither a query that the guard would not see, nor any other keyword, passes through `extra`."""
    with pytest.raises(InvalidRequestError, match=f"extra holds {name}"):
        EditStart(type="clear_custom_field", **BY_ID, s_query=QUERY, extra={name: ALL_LEADS})


@patient
@given(extra=json_objects.filter(lambda extra: not extra.keys() & attrs.fields_dict(DeleteStart).keys()))
def test_extra_is_merged_into_the_body(extra: Keywords) -> None:
    """What this package does not know is sent as it is."""
    assert DeleteStart(s_query=QUERY, extra=extra).body() == {"s_query": QUERY, **extra}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (float("nan"), "s_query.a.1 is nan"),
        (float("inf"), "s_query.a.1 is inf"),
        (float("-inf"), "s_query.a.1 is -inf"),
        ({1: 2}, "s_query.a.1 has the key 1"),
        ({1, 2}, "s_query.a.1 is a set"),
        (b"x", "s_query.a.1 is a bytes"),
        (2**70, "64-bit"),
        ("\ud800", "surrogate"),
    ],
)
def test_what_is_no_json_is_named_with_its_place(value: object, named: str) -> None:
    """No number or text that JSON does not know leaves as null or something else."""
    with pytest.raises(InvalidRequestError, match=named):
        DeleteStart(s_query={**QUERY, "a": [0, value]})


@pytest.mark.parametrize("name", ["sort", "extra", "custom_field_value", "custom_field_values"])
def test_every_open_keyword_is_checked(name: str) -> None:
    """Not only the query: each keyword that holds JSON of the caller's is checked down to its leaves."""
    keywords: Keywords = {"custom_field_value": 1, name: {"a": float("nan")} if name == "extra" else [float("nan")]}
    if name == "custom_field_values":
        del keywords["custom_field_value"]
    with pytest.raises(InvalidRequestError, match=f"{name}.* is nan"):
        EditStart(type="set_custom_field", **BY_ID, s_query=QUERY, **keywords)


def test_a_query_that_contains_itself_is_refused() -> None:
    """A loop in the query ends as an error of this package."""
    loop: Keywords = {"type": "and", "queries": [QUERY]}
    loop["queries"].append(loop)
    for allow_all in (False, True):
        with pytest.raises(InvalidRequestError, match="contains itself"):
            DeleteStart(s_query=loop, allow_all=allow_all)


@pytest.mark.parametrize("name", ["extra", "sort"])
def test_a_keyword_that_contains_itself_is_refused(name: str) -> None:
    """So does a loop in what else is sent."""
    loop: Keywords = {}
    loop["again"] = loop
    keywords: Keywords = {name: loop if name == "extra" else [loop]}
    with pytest.raises(InvalidRequestError, match="contains itself"):
        DeleteStart(s_query=QUERY, **keywords)


@pytest.mark.parametrize("word", ["and", "not"])
@pytest.mark.parametrize("depth", [200, 300, 400, 500, 700, 900, 20_000])
def test_a_query_that_is_nested_too_deeply_is_refused(word: str, depth: int) -> None:
    """Whether the copy, the encoder or the guard gives up first, it is the same error, and nothing passes unjudged."""
    query = ALL_LEADS
    for _ in range(depth):
        query = {"type": "and", "queries": [query]} if word == "and" else {"type": "not", "query": query}
    with pytest.raises((InvalidRequestError, UnsafeQueryError)):
        DeleteStart(s_query=query)


@patient
@given(value=json_values, more=json_objects)
def test_what_is_sent_is_what_was_checked(value: object, more: Keywords) -> None:
    """Changing the caller's dicts after a start was made changes neither what it says nor what is sent."""
    s_query: Keywords = {"type": "and", "queries": [dict(QUERY)], "more": more}
    sort: list[Keywords] = [{"direction": "asc"}]
    extra: Keywords = {"more": [more]}
    values = [value]
    keywords: Keywords = {"type": "set_custom_field", **BY_ID, "custom_field_values": values}
    start = EditStart(**keywords, s_query=s_query, sort=sort, extra=extra)
    sent, body = start.to_json(), copy.deepcopy(start.body())
    s_query["queries"][0]["value"] = ""
    for mine in (s_query["queries"], s_query, sort[0], sort, extra["more"], extra, more, values):
        mine.clear()
    start.body().clear()
    assert start.to_json() == sent
    assert start.body() == body == json.loads(sent)
    assert start.s_query == body["s_query"]
    assert attrs.evolve(start, send_done_email=False).body() == {**body, "send_done_email": False}


def test_changing_what_a_start_shows_does_not_change_what_is_sent() -> None:
    """The bytes were made when the query was checked, and only those are sent."""
    start: Any = DeleteStart(s_query=QUERY)
    start.s_query.clear()
    assert start.body() == {"s_query": QUERY}


@patient
@given(query=json_objects.filter(bool), data=st.data())
def test_equal_starts_are_equal_bytes(query: Keywords, data: st.DataObject) -> None:
    """The order of keys, tuples for lists and the type of a mapping make no difference to the body."""
    shuffled = dict(data.draw(st.permutations(list(query.items()))))
    one = DeleteStart(s_query={"type": "geo", "near": "x", "in": query}, sort=({"a": 1},), extra={"x": 1, "y": 2})
    other = DeleteStart(extra={"y": 2, "x": 1}, sort=[{"a": 1}], s_query={"in": shuffled, "type": "geo", "near": "x"})
    assert one.to_json() == other.to_json()


class Float(float):
    """A number of another library, such as numpy's."""

    __slots__ = ()


def test_floats_of_other_libraries_are_sent() -> None:
    """A subclass of float is a number."""
    start = EditStart(type="set_custom_field", **BY_ID, custom_field_value=Float(1.5), s_query=QUERY)
    assert start.body()["custom_field_value"] == 1.5


def test_starts_are_frozen_and_survive_pickling() -> None:
    """A start cannot be changed, and is the same start in another process."""
    start: Any = SequenceStart(action_type="pause", all_sequences=True, s_query=QUERY)
    with pytest.raises(AttributeError):
        start.query = "x"
    other = pickle.loads(pickle.dumps(start))  # noqa: S301 - our own bytes
    assert other.to_json() == start.to_json()
    assert other.all_sequences


def test_none_is_not_sent() -> None:
    """What was not given is left to the service."""
    start = EmailStart(**EMAIL, s_query=QUERY, query=None, sort=None, send_done_email=None, results_limit=None)
    assert start.body().keys() == {"template_id", "email_account_id", "s_query"}
    full = EmailStart(**EMAIL, s_query=QUERY, sort=[], send_done_email=False, results_limit=1)
    assert full.body() == {**EMAIL, "s_query": QUERY, "sort": [], "send_done_email": False, "results_limit": 1}
