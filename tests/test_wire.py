"""Close's HTTP as values: what each operation sends, and what each answer means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from closebulk_async.errors import (
    AuthenticationError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
)
from closebulk_async.models import BULK_KINDS, MODEL_OF_KIND, BulkDelete, BulkEmail, Export, JobRef, Kind, Status
from closebulk_async.starts import DeleteStart, EditStart, EmailStart, SequenceStart, Start
from closebulk_async.wire import (
    ECHOED_BY_ALL,
    KINDS,
    Me,
    Request,
    Response,
    build_create,
    build_get,
    build_list,
    build_me,
    build_set_status,
    check_count,
    read_action,
    read_me,
    read_page,
    salvage_action,
    server_time,
)

from .strategies import SCHEMA, json_objects, json_values, patient

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
DATA = Path(__file__).parent / "data"
QUERY = {"type": "text", "value": "ACME"}
GET = Request(method="GET", path="/bulk_action/email/bulkemail_1/")
REF: JobRef[BulkEmail] = JobRef(Kind.EMAIL, "bulkemail_1")
ALWAYS = "id,status,n_leads,n_leads_processed,n_objects,n_objects_processed"
PATHS = {
    Kind.EMAIL: "/bulk_action/email/",
    Kind.DELETE: "/bulk_action/delete/",
    Kind.EDIT: "/bulk_action/edit/",
    Kind.SEQUENCE_SUBSCRIPTION: "/bulk_action/sequence_subscription/",
}


def answer(status: int = 200, body: object = b"") -> Response:
    """A response; a body that is no bytes becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers=CIMultiDict(), body=data, now=NOW)


@pytest.mark.parametrize("kind", BULK_KINDS)
def test_each_kind_has_its_path_and_model(kind: Kind) -> None:
    """The table knows every kind, each path ends with a slash, and its fields are the documented ones."""
    row = KINDS[kind]
    assert (row.kind, row.path, row.model) == (kind, PATHS[kind], MODEL_OF_KIND[kind])
    assert row.fields == SCHEMA[kind].keys()
    assert KINDS.keys() == set(Kind)


@pytest.mark.parametrize("kind", BULK_KINDS)
def test_a_read_of_one_action(kind: Kind) -> None:
    """GET on the item, its path closed by a slash, and nothing else."""
    request = build_get(JobRef(kind, "x_1"))
    assert request == Request(method="GET", path=f"{PATHS[kind]}x_1/")
    assert str(request) == f"GET {PATHS[kind]}x_1/"
    assert request.group == f"GET {PATHS[kind]}"
    assert (request.body, request.only_reads) == (None, False)
    assert request.is_safe_to_repeat


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ([], ALWAYS),
        (["sender"], f"{ALWAYS},sender"),
        (("sender", "id", "template_id", "sender"), f"{ALWAYS},sender,template_id"),
        (dict.fromkeys(["status"]), ALWAYS),
        ((name for name in ["query"]), f"{ALWAYS},query"),
        (["_all"], f"{ALWAYS},_all"),
    ],
)
def test_narrowed_reads_always_ask_for_how_far_it_is(fields: Iterable[str], sent: str) -> None:
    """Id, status and counters come with whatever else is asked for, each name once, on items and on pages."""
    names = list(fields)
    assert build_get(REF, fields=iter(names)).query == (("_fields", sent),)
    assert build_list(Kind.EDIT, fields=names).query[-1] == ("_fields", sent)
    assert ",".join(KINDS[Kind.EMAIL].always) == ALWAYS


@pytest.mark.parametrize("fields", ["sender", ["a,b"], ["a b"], [""], ["_"], [7], [None], ["a&b"], b"id"])
def test_what_is_no_field_is_refused(fields: Any) -> None:  # noqa: ANN401 - what untyped callers pass
    """One text instead of several, or a name that would break the list, is found before it is sent."""
    with pytest.raises(InvalidRequestError, match="fields"):
        build_get(REF, fields=fields)
    with pytest.raises(InvalidRequestError, match="fields"):
        build_list(Kind.EMAIL, fields=fields)


@pytest.mark.parametrize("kind", BULK_KINDS)
def test_a_read_of_a_page(kind: Kind) -> None:
    """GET on the list, always with limit and skip, by default the largest page from the begin."""
    assert build_list(kind) == Request(method="GET", path=PATHS[kind], query=(("_limit", "100"), ("_skip", "0")))
    assert build_list(kind, limit=1, skip=7, filters={}).query == (("_limit", "1"), ("_skip", "7"))


def test_only_emails_have_a_filter_by_template() -> None:
    """The service ignores a filter it does not know and returns everything, so that only known ones are sent."""
    assert build_list(Kind.EMAIL, filters={"template_id": "tmpl_1"}).query[2:] == (("template_id", "tmpl_1"),)
    assert build_list(Kind.EMAIL, filters={"template_id": None}).query[2:] == ()
    with pytest.raises(InvalidRequestError, match=r"^the list of email actions has no filter sort, status$"):
        build_list(Kind.EMAIL, filters={"template_id": "tmpl_1", "status": "done", "sort": "id"})
    for kind in (Kind.DELETE, Kind.EDIT, Kind.SEQUENCE_SUBSCRIPTION):
        with pytest.raises(InvalidRequestError, match=f"{kind} actions has no filter template_id"):
            build_list(kind, filters={"template_id": "tmpl_1"})


@pytest.mark.parametrize("value", ["", " ", 7, ["tmpl_1"]])
def test_an_empty_filter_is_refused(value: Any) -> None:  # noqa: ANN401 - what untyped callers pass
    """An empty filter would be none, and everything would come back."""
    with pytest.raises(InvalidRequestError, match="template_id must be a text"):
        build_list(Kind.EMAIL, filters={"template_id": value})


@pytest.mark.parametrize("number", [-1, 1.0, True, "5", None, float("nan")])
def test_what_is_no_count_is_refused(number: Any) -> None:  # noqa: ANN401 - what untyped callers pass
    """Negative numbers, fractions, booleans and texts are refused by the name of the parameter."""
    with pytest.raises(InvalidRequestError, match="limit must be an integer of at least 1"):
        build_list(Kind.EMAIL, limit=number)
    with pytest.raises(InvalidRequestError, match="skip must be an integer of at least 0"):
        build_list(Kind.EMAIL, skip=number)
    with pytest.raises(InvalidRequestError, match="max_items must be an integer of at least 3"):
        check_count(number, name="max_items", least=3)


def test_counts_may_be_at_their_bounds() -> None:
    """A page of one row, a skip of none: but no page of nothing."""
    assert check_count(0, name="skip") == 0
    assert check_count(3, name="x", least=3) == 3
    with pytest.raises(InvalidRequestError, match="limit"):
        build_list(Kind.EMAIL, limit=0)


@pytest.mark.parametrize(
    "start",
    [
        EmailStart(template_id="t", email_account_id="e", s_query=QUERY),
        DeleteStart(s_query=QUERY),
        EditStart(type="set_lead_status", lead_status_id="s", s_query=QUERY),
        SequenceStart(action_type="pause", sequence_id="s", s_query=QUERY),
    ],
    ids=lambda start: start.kind,
)
def test_a_start_is_a_post_that_is_not_repeated(start: Start) -> None:
    """POST to the list of the kind with the start's own bytes; a second one would be a second job."""
    request = build_create(start.kind, start.to_json())
    assert request == Request(method="POST", path=PATHS[start.kind], body=start.to_json())
    assert not request.is_safe_to_repeat


@pytest.mark.parametrize(
    ("status", "body"), [(Status.PAUSED, b'{"status":"paused"}'), (Status.RESUMING, b'{"status":"resuming"}')]
)
def test_pausing_and_resuming_change_the_item(status: Status, body: bytes) -> None:
    """PUT on the item with the status that the vendor names; not repeated unseen."""
    request = build_set_status(REF, status)
    assert request == Request(method="PUT", path="/bulk_action/email/bulkemail_1/", body=body)
    assert request.group == "PUT /bulk_action/email/"
    assert not request.is_safe_to_repeat


def test_the_vendors_samples_are_read() -> None:
    """A page of emails and a single delete, as the documentation shows them."""
    page = read_page(Kind.EMAIL, GET, answer(body=(DATA / "list_of_bulk_emails.json").read_bytes()))
    assert [type(row) for row in page.data] == [BulkEmail]
    assert not page.has_more
    action = read_action(Kind.DELETE, GET, answer(body=(DATA / "bulk_delete.json").read_bytes()))
    assert isinstance(action, BulkDelete)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b'{"id": "bulkemail_1", "stat', ""),
        (b"[]", "not an object"),
        (b'"done"', "not an object"),
        (b"{}", "there is no 'status'"),
        (b'{"status": "done"}', "there is no 'id'"),
        (b'{"id": "bulkemail_1"}', "there is no 'status'"),
        (b'{"id": null, "status": "done"}', "'id' holds a JSON null"),
        (b'{"id": "", "status": "done"}', "'id' holds '', which is no id"),
        (b'{"id": "a/b", "status": "done"}', "'id' holds 'a/b', which is no id"),
        (b'{"id": "x", "status": 5}', "'status' holds a JSON integer"),
        (b'{"id": "x", "status": "done", "date_created": "soon"}', "'date_created' holds 'soon'"),
        (b'{"id": "\xff", "status": "done"}', ""),
    ],
)
def test_a_success_that_does_not_fit_is_a_decode_error(body: bytes, reason: str) -> None:
    """The error has status, request, the begin of the body and, where the JSON is sound, the key."""
    with pytest.raises(DecodeError) as caught:
        read_action(Kind.EMAIL, GET, answer(201, body))
    error = caught.value
    assert (error.status, error.request) == (201, str(GET))
    assert error.body == " ".join(body.decode(errors="replace").split())[:200]
    assert f"{GET} answered 201" in str(error)
    assert reason in str(error)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", r"."),
        (b"[]", "not an object"),
        (b"{}", "no list under 'data'"),
        (b'{"data": {}}', "no list under 'data'"),
        (b'{"data": [5]}', "not an object"),
        (b'{"data": [{"status": "done"}]}', r"\bid\b"),
        (b'{"data": [{"id": "x"}, {"id": "y", "n_leads": "7"}]}', "'n_leads' holds"),
        (b'{"data": [], "has_more": true}', ": an empty page that says there are more"),
    ],
)
def test_a_page_that_does_not_fit_is_a_decode_error(body: bytes, reason: str) -> None:
    """Also a page that is empty and says there is more: going on would never end."""
    with pytest.raises(DecodeError, match=reason) as caught:
        read_page(Kind.EMAIL, GET, answer(200, body))
    assert (caught.value.status, caught.value.request) == (200, str(GET))


def test_a_narrow_row_and_an_empty_last_page_are_read() -> None:
    """Rows need no more than an id, and a short or empty last page is legal."""
    assert read_page(Kind.EMAIL, GET, answer(body={"data": []})).data == []
    page = read_page(Kind.EMAIL, GET, answer(body={"data": [{"id": "x"}], "has_more": True}))
    assert (page.data[0].id, page.has_more) == ("x", True)


@pytest.mark.parametrize(
    ("body", "id"),
    [
        (b'{"id": "bulkemail_1"}', "bulkemail_1"),
        (b'{"id": "bulkemail_1", "status": 5, "n_leads": "many"}', "bulkemail_1"),
        (b'{"id": 5}', None),
        (b'{"id": null}', None),
        (b'{"id": "a/b"}', None),
        (b'{"id": ""}', None),
        (b'{"id": "bulkemail_1", ', None),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_id_of_a_started_job_is_saved_from_any_answer(body: bytes, id: str | None) -> None:
    """An answer whose other fields do not fit still says which job was started; nothing but the id is taken from it."""
    action = salvage_action(Kind.EMAIL, answer(200, body))
    if id is None:
        assert action is None
    else:
        assert isinstance(action, BulkEmail)
        assert action.to_dict() == {"id": id}


@patient
@given(body=st.binary(max_size=60) | json_values | json_objects, status=st.sampled_from([200, 201, 204]))
def test_no_answer_leaves_by_another_error(body: object, status: int) -> None:
    """A body that is no action is a DecodeError, whatever it is; what is read has an id and a status."""
    response = answer(status, body)
    for read in (lambda: read_action(Kind.EMAIL, GET, response), lambda: read_page(Kind.EMAIL, GET, response)):
        with pytest.raises(CloseBulkError) as caught:
            read()
        assert type(caught.value) is DecodeError
    salvage_action(Kind.EMAIL, response)


def test_the_key_is_asked_for_its_user() -> None:
    """A read like any other."""
    assert build_me() == Request(method="GET", path="/me/")
    assert build_me().is_safe_to_repeat


@pytest.mark.parametrize(
    ("organizations", "ids"),
    [
        ([{"id": "orga_1", "name": "One"}], ["orga_1"]),
        ([{"id": "orga_1"}, {"id": "orga_2"}], ["orga_1", "orga_2"]),
        ([{"name": "One"}, "orga_2", {"id": 3}], []),
        (None, []),
        ("orga_1", []),
    ],
)
def test_a_user_is_read_with_the_organizations(organizations: object, ids: list[str]) -> None:
    """Those that have an id; a service that shows none of them is borne."""
    body = {"id": "user_1", "organizations": organizations}
    assert read_me(build_me(), answer(body=body)) == Me(user_id="user_1", organization_ids=ids)
    assert read_me(build_me(), answer(body={"id": "user_1"})) == Me(user_id="user_1", organization_ids=[])


def test_a_link_that_may_be_all_that_it_takes_is_not_shown() -> None:
    """Of an answer that cannot be read, the address of a file stays without its query."""
    body = b'{"id": 5, "url": "https://files.example/a?key=1&more=2", "next": "https://files.example/b"}'
    with pytest.raises(DecodeError) as caught:
        read_action(Kind.EMAIL, GET, answer(200, body))
    assert caught.value.body == '{"id": 5, "url": "https://files.example/a?***", "next": "https://files.example/b"}'


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{}", b'{"id": null}', b'{"id": 5}'])
def test_a_user_without_an_id_is_a_decode_error(body: bytes) -> None:
    """Nobody could be told apart by it."""
    with pytest.raises(DecodeError, match=": there is no 'id' that is one") as caught:
        read_me(build_me(), answer(body=body))
    assert caught.value.request == "GET /me/"


def test_a_key_that_is_refused_raises_the_error_of_its_status() -> None:
    """Whatever the body says."""
    with pytest.raises(AuthenticationError, match=r"^GET /me/ was answered with 401"):
        read_me(build_me(), answer(401, {"id": "user_1"}))


@pytest.mark.parametrize(
    ("said", "skew"),
    [
        ("Thu, 15 Jan 2026 11:59:00 GMT", timedelta(minutes=1)),
        ("Thu, 15 Jan 2026 12:00:30 GMT", timedelta(seconds=-30)),
        (None, None),
    ],
)
def test_the_skew_is_how_far_this_clock_is_ahead(said: str | None, skew: timedelta | None) -> None:
    """None where the service does not tell its time."""
    headers = CIMultiDict() if said is None else CIMultiDict({"Date": said})
    response = Response(status=200, headers=headers, body=b'{"id": "user_1"}', now=NOW)
    assert read_me(build_me(), response).clock_skew == skew


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        ("Thu, 15 Jan 2026 12:00:00 GMT", NOW),
        ("Thu, 15 Jan 2026 14:00:00 +0200", NOW),
        ("Thu, 15 Jan 2026 12:00:00 -0000", NOW),
        ("some day", None),
        (f"Thu, {10**30} Jan 2026 12:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_the_servers_time_is_that_of_its_header(header: str | None, moment: datetime | None) -> None:
    """An aware instant, or None where there is none to be read."""
    headers = CIMultiDict() if header is None else CIMultiDict({"Date": header})
    assert server_time(Response(status=200, headers=headers, body=b"", now=NOW)) == moment


@patient
@given(header=st.text(max_size=40) | st.from_regex(r"\w{3}, \d{1,2} (Jan|Feb) \d{1,5} \d\d:\d\d:\d\d [+-]\d{1,7}"))
def test_no_header_breaks_the_servers_time(header: str) -> None:
    """Whatever it holds; what is read is aware."""
    moment = server_time(Response(status=200, headers={"date": header}, body=b"", now=NOW))
    assert moment is None or moment.tzinfo is not None


def test_what_every_kind_shows_of_what_was_not_sent() -> None:
    """The defaults of the service, with which a fingerprint is made; and exports alone have no date of a change."""
    assert dict(ECHOED_BY_ALL) == {
        "query": None,
        "results_limit": None,
        "s_query": {},
        "send_done_email": True,
        "sort": [],
    }
    assert {kind: KINDS[kind].polled for kind in Kind} == {
        **dict.fromkeys(BULK_KINDS, ("date_updated",)),
        Kind.EXPORT: None,
    }


def test_exports_are_a_kind_of_their_own() -> None:
    """With a path and counters of their own, and nothing by which a start could be known again."""
    row = KINDS[Kind.EXPORT]
    assert (row.kind, row.model, row.echoed) == (Kind.EXPORT, Export, frozenset())
    request = build_get(JobRef(Kind.EXPORT, "exp_1"), fields=["download_url"])
    assert request.path == "/export/exp_1/"
    assert dict(request.query) == {"_fields": "id,status,n_docs,n_docs_processed,download_url"}


def test_what_a_kind_shows_again_is_a_field_of_its_model() -> None:
    """And a keyword of its start, so that a fingerprint can be made of either."""
    for row in map(KINDS.__getitem__, BULK_KINDS):
        sent = {attribute.name for attribute in attrs.fields(START_OF[row.kind])}
        assert {*row.echoed, *ECHOED_BY_ALL} <= row.fields & sent


START_OF = {
    Kind.EMAIL: EmailStart,
    Kind.DELETE: DeleteStart,
    Kind.EDIT: EditStart,
    Kind.SEQUENCE_SUBSCRIPTION: SequenceStart,
}
