"""The values of the API: what they hold, what they refuse, and that the way back to JSON is exact."""

from __future__ import annotations

import copy
import json
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.convert import decode, decode_page
from closebulk_async.errors import CloseBulkError, FieldNotRequested, InvalidRequestError
from closebulk_async.models import (
    BULK_KINDS,
    MODEL_OF_KIND,
    PHASE_OF_STATUS,
    BulkAction,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    ContactPreference,
    EditType,
    ExportStatus,
    JobRef,
    Kind,
    Page,
    Phase,
    Status,
    check_id,
    phase_of,
)

from .strategies import SCHEMA, any_rows, ids, json_objects, patient, whole_rows

DATA = Path(__file__).parent / "data"
KINDS = list(BULK_KINDS)
MODELS = [MODEL_OF_KIND[kind] for kind in BULK_KINDS]
SAMPLES: dict[str, object] = {"text": "x", "integer": 3, "number": 1.5, "boolean": True, "object": {}, "list": []}
FITS = {"objects": "list", "texts": "list"} | dict.fromkeys(
    ("id", "status", "preference", "object_type", "edit_type", "action_type"), "text"
)


def misfits() -> list[Any]:
    """Each field of each kind with a value of every JSON type that its schema does not have."""
    found = []
    for kind, columns in SCHEMA.items():
        for name, words in columns.items():
            accepted = {FITS.get(word, word) for word in words.split()}
            for word, value in (SAMPLES | {"null": None}).items():
                if word not in accepted and "anything" not in accepted:
                    found.append(pytest.param(kind, name, value, id=f"{kind}-{name}-{word}"))
    return found


def test_vendors_page_of_emails_is_reproduced_key_for_key() -> None:
    """The sample page of the vendor's documentation becomes models and the same JSON again, dates by their text."""
    body = (DATA / "list_of_bulk_emails.json").read_bytes()
    rows, has_more = decode_page(body, BulkEmail)
    assert {"data": [row.to_dict() for row in rows], "has_more": has_more} == json.loads(body)
    assert rows[0].date_created == datetime(2013, 12, 5, 18, 34, 41, 753000, tzinfo=UTC)
    assert rows[0].status is Status.PROCESSING
    assert (rows[0].n_objects_processed, rows[0].n_objects) == (523, 824)
    assert rows[0].unset == frozenset()


def test_vendors_delete_is_reproduced_key_for_key() -> None:
    """The sample of one bulk delete becomes a model and the same JSON again, dates by their text."""
    body = (DATA / "bulk_delete.json").read_bytes()
    action = decode(body, BulkDelete)
    assert action.to_dict() == json.loads(body) == json.loads(action.to_json())
    assert action.is_done
    assert str(action.ref) == "delete:bulkdelete_asdVYCm54A0El829k39e7nIvlCSDDhVLuyb8aspGSET"


@pytest.mark.parametrize("kind", KINDS)
def test_models_have_the_fields_of_the_schema(kind: Kind) -> None:
    """A model has every documented field under its own name, and besides only `extra`."""
    model = MODEL_OF_KIND[kind]
    assert {field.name for field in attrs.fields(model)} == SCHEMA[kind].keys() | {"extra"}
    assert model.kind is kind


@pytest.mark.parametrize("kind", KINDS)
@patient
@given(data=st.data())
def test_any_row_survives_the_round_trip(kind: Kind, data: st.DataObject) -> None:
    """Unknown keys, unknown words, nulls and missing keys: what came in goes out, key for key and date for date."""
    row = data.draw(any_rows(kind))
    action = decode(json.dumps(row).encode(), MODEL_OF_KIND[kind])
    assert action.to_dict() == row
    assert json.loads(action.to_json()) == row
    assert action.unset == SCHEMA[kind].keys() - row.keys()
    assert dict(action.extra) == {key: value for key, value in row.items() if key not in SCHEMA[kind]}


@pytest.mark.parametrize("kind", KINDS)
@patient
@given(data=st.data())
def test_copies_equal_their_original(kind: Kind, data: st.DataObject) -> None:
    """Pickled, copied and read again, an action equals itself, hashes alike and shows alike, whatever it lacks."""
    action = MODEL_OF_KIND[kind].from_dict(data.draw(any_rows(kind)))
    for other in (
        pickle.loads(pickle.dumps(action)),  # noqa: S301 - our own bytes
        copy.copy(action),
        copy.deepcopy(action),
        type(action).from_dict(action.to_dict()),
    ):
        assert type(other) is type(action)
        assert other == action
        assert hash(other) == hash(action)
        assert repr(other) == repr(action)
        assert other.unset == action.unset
        assert other.to_dict() == action.to_dict()


@pytest.mark.parametrize("kind", KINDS)
@patient
@given(data=st.data())
def test_a_missing_field_raises_and_is_never_none(kind: Kind, data: st.DataObject) -> None:
    """Reading a field that the response left out raises an error that is a CloseBulkError and an AttributeError."""
    action: Any = MODEL_OF_KIND[kind].from_dict(data.draw(any_rows(kind)))
    for name in action.unset:
        with pytest.raises(FieldNotRequested, match=name) as caught:
            getattr(action, name)
        assert isinstance(caught.value, CloseBulkError)
        assert isinstance(caught.value, AttributeError)
        assert caught.value.field == name
        assert not hasattr(action, name)


@pytest.mark.parametrize(("kind", "name", "value"), misfits())
def test_a_value_that_the_schema_does_not_allow_is_refused_by_its_key(kind: Kind, name: str, value: object) -> None:
    """A wrong type, or null where the schema has none, is an error that names the key, in whole and in narrow rows."""
    model = MODEL_OF_KIND[kind]
    whole = {**model.example().to_dict(), name: value}
    for row in (whole, {"id": "x", name: value}, {**whole, "surprise": 1}):
        with pytest.raises(InvalidRequestError, match=f"'{name}' holds"):
            model.from_dict(row)


def test_unknown_words_stay_plain_strings() -> None:
    """A known word is a member of its enum, an unknown one is the text that came."""
    action = BulkEmail.example(status="zapped", contact_preference="all")
    assert type(action.status) is str
    assert action.status == "zapped"
    assert action.contact_preference is ContactPreference.ALL
    assert type(BulkEdit.example(type="set_everything").type) is str
    assert BulkEdit.example(type="clear_custom_field").type is EditType.CLEAR_CUSTOM_FIELD


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-12-05T18:34:41.753000", datetime(2013, 12, 5, 18, 34, 41, 753000, tzinfo=UTC)),
        ("2013-12-05T18:34:41Z", datetime(2013, 12, 5, 18, 34, 41, tzinfo=UTC)),
        ("2013-12-05T18:34:41.75+02:00", datetime(2013, 12, 5, 16, 34, 41, 750000, tzinfo=UTC)),
    ],
)
def test_dates_in_other_spellings_keep_their_instant(text: str, moment: datetime) -> None:
    """Whatever the spelling, the date is aware, a naive one is UTC, and what is written is the same instant."""
    action = BulkEmail.example(date_created=text)
    assert action.date_created == moment
    assert action.date_created is not None
    assert action.date_created.tzinfo is not None
    assert datetime.fromisoformat(action.to_dict()["date_created"]) == moment


def test_the_offset_of_a_date_is_kept() -> None:
    """A date with an offset of its own is written with that offset."""
    text = "2013-12-05T18:34:41.753000-03:30"
    action = BulkEmail.example(date_created=text)
    assert action.to_dict()["date_created"] == text
    assert action.date_created is not None
    assert action.date_created.tzinfo == timezone(-timedelta(hours=3, minutes=30))


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("created", Phase.RUNNING),
        ("loading", Phase.RUNNING),
        ("processing", Phase.RUNNING),
        ("resuming", Phase.RUNNING),
        ("paused", Phase.AT_REST),
        ("done", Phase.DONE),
        ("error", Phase.FAILED),
        ("zapped", Phase.RUNNING),
        (None, Phase.RUNNING),
    ],
)
def test_a_status_means_one_phase(status: str | None, phase: Phase) -> None:
    """`done` and `error` are final, `paused` rests, everything else runs, unknown words and null included."""
    action = BulkEmail.example(status=status)
    assert phase_of(status) is action.phase is phase
    assert action.is_done is (phase is Phase.DONE)
    assert action.is_failed is (phase is Phase.FAILED)
    assert action.is_paused is (phase is Phase.AT_REST)
    assert action.is_final is (phase in {Phase.DONE, Phase.FAILED})


def test_every_status_has_a_phase() -> None:
    """No word of actions or exports is forgotten in the table."""
    assert PHASE_OF_STATUS.keys() == {*Status, *ExportStatus}


@pytest.mark.parametrize("name", ["is_done", "is_failed", "is_paused", "is_final", "phase"])
def test_a_property_names_the_field_that_is_missing(name: str) -> None:
    """A property that needs a missing field raises for that field, not for itself."""
    with pytest.raises(FieldNotRequested, match="status"):
        getattr(BulkEmail.from_dict({"id": "bulkemail_1"}), name)


def test_a_ref_needs_an_id() -> None:
    """Without an id there is neither ref nor hash, and the error says so."""
    nameless = BulkEmail.from_dict({"status": "done"})
    with pytest.raises(FieldNotRequested, match=r"BulkEmail\.id"):
        _ = nameless.ref
    with pytest.raises(FieldNotRequested, match=r"BulkEmail\.id"):
        hash(nameless)


def test_a_wrong_name_is_a_plain_attribute_error() -> None:
    """A misspelt attribute is not taken for a field that was left out, and Python may suggest the right one."""
    action: Any = BulkEmail.example()
    with pytest.raises(AttributeError, match="stauts") as caught:
        _ = action.stauts
    assert not isinstance(caught.value, CloseBulkError)
    assert (caught.value.name, caught.value.obj) == ("stauts", action)


@pytest.mark.parametrize("model", MODELS)
def test_actions_are_frozen(model: type[BulkAction]) -> None:
    """Neither fields nor unknown attributes can be set or deleted, and the unknown keys cannot be changed."""
    action: Any = model.example(surprise=1)
    for name in ("status", "surprise", "kind", "extra"):
        with pytest.raises(AttributeError):
            setattr(action, name, "done")
    with pytest.raises(AttributeError):
        del action.status
    with pytest.raises(TypeError):
        action.extra["surprise"] = 2


@patient
@given(s_query=json_objects.filter(bool))
def test_json_that_goes_in_or_out_is_a_copy(s_query: dict[str, Any]) -> None:
    """What the caller does to the dict that was read, or to the one that was written, does not reach the model."""
    before = copy.deepcopy(s_query)
    row = {"id": "x", "s_query": s_query, "surprise": {"deep": [s_query]}}
    action = BulkEmail.from_dict(row)
    written = action.to_dict()
    s_query.clear()
    written["s_query"].clear()
    written["surprise"]["deep"].clear()
    assert action.s_query == before
    assert action.extra["surprise"] == {"deep": [before]}


@pytest.mark.parametrize("model", MODELS)
def test_actions_differ_by_value_and_hash_by_ref(model: type[BulkAction]) -> None:
    """Two snapshots of one job are different values with one hash, and equal ones are found in a set."""
    before, after = model.example(n_objects_processed=1), model.example(n_objects_processed=2)
    assert before != after
    assert hash(before) == hash(after)
    assert {before: "found"}[model.example(n_objects_processed=1)] == "found"
    assert before != model.example(n_objects_processed=1, surprise=1)
    assert model.from_dict({"id": "x"}) != model.from_dict({"id": "x", "status": None})
    assert model.from_dict({"id": "x"}) not in [other.from_dict({"id": "x"}) for other in MODELS if other is not model]


def test_a_key_may_be_named_like_an_attribute() -> None:
    """JSON keys `extra`, `kind` and `ref` are unknown keys as any other."""
    row = {"id": "x", "extra": {"a": 1}, "kind": "y", "ref": "z", "to_dict": 1}
    action = BulkEmail.from_dict(row)
    assert action.to_dict() == row
    assert action.kind is Kind.EMAIL
    assert dict(action.extra) == {"extra": {"a": 1}, "kind": "y", "ref": "z", "to_dict": 1}


@pytest.mark.parametrize("model", MODELS)
def test_an_example_is_whole_and_takes_changes(model: type[BulkAction]) -> None:
    """`example` has every field, and takes changes as JSON or as the attributes hold them."""
    action = model.example()
    assert action.unset == frozenset()
    assert action.id == f"bulk{action.kind}_example"
    moment = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    changed = model.example(id="x", status=Status.DONE, date_created=moment, n_objects=None, surprise=[1])
    assert (changed.id, changed.status, changed.date_created, changed.n_objects) == ("x", Status.DONE, moment, None)
    assert changed.status is Status.DONE
    assert dict(changed.extra) == {"surprise": [1]}
    assert model.example(status="done") == model.example(status=Status.DONE)
    assert model.example().to_dict() == model.example().to_dict()


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_only_an_object_is_an_action(data: object) -> None:
    """`from_dict` says what came instead of an object."""
    with pytest.raises(InvalidRequestError, match="BulkEmail"):
        BulkEmail.from_dict(data)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("text", ["soon", "", "2013-13-01T00:00:00+00:00"])
def test_a_text_that_is_no_date_is_refused_by_its_key(text: str) -> None:
    """The error names the key and the text, in a whole row and in a narrow one."""
    for row in ({**BulkEmail.example().to_dict(), "date_updated": text}, {"date_updated": text}):
        with pytest.raises(InvalidRequestError, match=re.escape(f"'date_updated' holds '{text}'")):
            BulkEmail.from_dict(row)


def test_older_rows_without_counters_are_read() -> None:
    """A sequence row of an older server, without `n_objects` and the newer fields, is an action."""
    row = BulkSequenceSubscription.example().to_dict()
    for name in ("n_objects", "n_objects_processed", "calls_assigned_to", "from_phone_number_id"):
        del row[name]
    action = BulkSequenceSubscription.from_dict(row)
    assert action.to_dict() == row
    assert "n_objects" in action.unset


@pytest.mark.parametrize("kind", KINDS)
@patient
@given(id=ids)
def test_a_ref_is_its_text(kind: Kind, id: str) -> None:
    """A ref is read from the text it writes, is equal to and hashes as any other of the same kind and id."""
    ref: JobRef[Any] = JobRef(kind, id)
    assert str(ref) == f"{kind.value}:{id}"
    assert JobRef.parse(str(ref)) == ref
    assert len({ref, JobRef.parse(str(ref)), pickle.loads(pickle.dumps(ref))}) == 1  # noqa: S301 - our own bytes
    assert ref != JobRef(kind, id + "x")
    assert len({JobRef(other, id) for other in BULK_KINDS}) == len(BULK_KINDS)


def test_an_action_and_its_ref_agree() -> None:
    """`action.ref` has the kind of the model and the id of the row."""
    for model in MODELS:
        assert model.example(id="x").ref == JobRef(model.kind, "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "email",
        "bulkemail_x",
        ":",
        "email:",
        ":x",
        "emails:x",
        "email:a/b",
        "email:x ",
        "email:x\n",
        "a:b:c",
        "EMAIL:x",
    ],
)
def test_a_text_that_is_no_ref_is_refused(text: str) -> None:
    """The error says what is wrong with it, as an error of this package and a ValueError."""
    with pytest.raises(InvalidRequestError, match=r"no (ref|kind|id)") as caught:
        JobRef.parse(text)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [None, 1, b"email:x", ["email", "x"], BulkEmail.example()])
def test_what_is_no_text_is_no_ref(value: object) -> None:
    """Other types are refused with the same error, not with a TypeError from inside."""
    with pytest.raises(InvalidRequestError, match="no ref"):
        JobRef.parse(value)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InvalidRequestError, match="no id"):
        check_id(value)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InvalidRequestError, match="no kind"):
        JobRef(value, "x")  # type: ignore[arg-type]  # wrong on purpose


def test_a_ref_takes_the_kind_as_a_word_and_is_frozen() -> None:
    """`JobRef("email", ...)` is the same as with the enum's member, and cannot be changed."""
    word: Any = "email"
    ref: Any = JobRef(word, "x")
    assert ref.kind is Kind.EMAIL
    with pytest.raises(AttributeError):
        ref.id = "y"


def test_a_page_holds_its_rows() -> None:
    """Pages of equal rows are equal, and frozen."""
    page: Any = Page([BulkEmail.example()], has_more=True)
    assert page == Page([BulkEmail.example()], has_more=True)
    assert page != Page([BulkEmail.example()], has_more=False)
    with pytest.raises(AttributeError):
        page.has_more = False


@pytest.mark.parametrize("kind", KINDS)
@patient
@given(data=st.data())
def test_whole_rows_and_rows_with_more_are_read_alike(kind: Kind, data: st.DataObject) -> None:
    """A row with exactly the documented keys is read as one with an unknown key besides."""
    row = data.draw(whole_rows(kind))
    whole, more = MODEL_OF_KIND[kind].from_dict(row), MODEL_OF_KIND[kind].from_dict({**row, "\0": None})
    for name in SCHEMA[kind]:
        one, other = getattr(whole, name), getattr(more, name)
        assert one == other
        assert type(one) is type(other)
