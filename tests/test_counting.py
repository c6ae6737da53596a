"""How many leads a start would act on: the count, the guard that asks for it, and previews."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from closebulk_async import (
    APIError,
    ApiKey,
    BadRequestError,
    BulkActions,
    ClientClosedError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    DeleteStart,
    InvalidRequestError,
    Preview,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    Timeouts,
    TooManyMatchesError,
    TransportError,
    UnsafeQueryError,
)
from closebulk_async.counting import check_matches
from closebulk_async.fingerprints import fingerprint_of_action
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.settings import Settings
from closebulk_async.simulator import Plan, faults
from closebulk_async.transport import Transport
from tests.peers import ACME, Peer, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from closebulk_async.simulator import Fault, Request, Simulator
    from tests.stage import Stage

LEADS = {"type": "object_type", "object_type": "lead"}
CONTACTS = {"type": "object_type", "object_type": "contact"}
SEARCH = "/api/v1/data/search/"
EMAIL = {"template_id": "tmpl_1", "email_account_id": "emailacct_1"}
EDIT = {"type": "set_lead_status", "lead_status_id": "stat_1"}
SEQUENCE = {"action_type": "pause", "sequence_id": "seq_1"}
KEYWORDS: dict[Kind, dict[str, Any]] = {
    Kind.EMAIL: {**EMAIL, "sender": "ada@example.com", "contact_preference": "lead"},
    Kind.DELETE: {"bulk_object_type": "contact"},
    Kind.EDIT: EDIT,
    Kind.SEQUENCE_SUBSCRIPTION: SEQUENCE,
}
each_kind = pytest.mark.parametrize("kind", BULK_KINDS)


def endpoint(close: CloseBulk, kind: Kind) -> Any:  # noqa: ANN401 - its keywords are those of any kind
    """The endpoint of a kind."""
    found: tuple[BulkActions[Any], ...] = (close.emails, close.deletes, close.edits, close.sequence_subscriptions)
    return next(each for each in found if each.kind is kind)


def searches(sim: Simulator) -> list[Request]:
    """The counts that were asked for."""
    return [request for request in sim.requests if request.path == SEARCH]


def starts(sim: Simulator) -> list[Request]:
    """The POSTs that start a job."""
    return [request for request in sim.requests if request.method == "POST" and request.path != SEARCH]


# What is counted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("s_query", "counted"),
    [
        (None, LEADS),
        ({}, LEADS),
        (LEADS, LEADS),
        (ACME, {"type": "and", "queries": [LEADS, ACME]}),
        ({"type": "and", "queries": [LEADS, ACME]}, {"type": "and", "queries": [LEADS, ACME]}),
        ({"type": "and", "queries": [CONTACTS, ACME]}, {"type": "and", "queries": [CONTACTS, ACME]}),
        (
            {"type": "or", "queries": [ACME, {"type": "and", "queries": [LEADS, ACME]}]},
            {"type": "or", "queries": [ACME, {"type": "and", "queries": [LEADS, ACME]}]},
        ),
        ({"type": "not", "query": LEADS}, {"type": "not", "query": LEADS}),
        (
            # The contacts are what the leads are related to, and not what is looked for.
            {"type": "has_related", "related_object_type": "contact", "related_query": CONTACTS},
            {
                "type": "and",
                "queries": [
                    LEADS,
                    {"type": "has_related", "related_object_type": "contact", "related_query": CONTACTS},
                ],
            },
        ),
        ({"type": "and", "queries": []}, {"type": "and", "queries": [LEADS, {"type": "and", "queries": []}]}),
        ({"type": "and", "queries": 5}, {"type": "and", "queries": [LEADS, {"type": "and", "queries": 5}]}),
    ],
)
async def test_what_a_job_acts_on_is_counted(stage: Stage, s_query: dict[str, Any] | None, counted: object) -> None:
    """A search is told that leads are meant unless the query names its objects itself, and asked for no rows."""
    stage.sim.matches = 12
    assert (await stage.close.deletes.preview(s_query=s_query, allow_all=True)).count == 12
    (request,) = stage.sim.requests
    assert (request.method, request.path) == ("POST", SEARCH)
    assert request.json() == {"query": counted, "include_counts": True, "results_limit": 0}


@pytest.mark.parametrize(("results_limit", "count"), [(None, 50), (51, 50), (50, 50), (49, 49), (1, 1)])
async def test_results_limit_caps_the_count(stage: Stage, results_limit: int | None, count: int) -> None:
    """A job acts on no more leads than `results_limit` lets it, and so many are counted."""
    stage.sim.matches = 50
    assert (await stage.close.deletes.preview(s_query=ACME, results_limit=results_limit)).count == count


@pytest.mark.parametrize("s_query", [None, ACME])
async def test_a_search_text_is_not_counted(stage: Stage, s_query: dict[str, Any] | None) -> None:
    """The service counts no legacy query: the preview says so, and nothing at all is sent, also beside an `s_query`."""
    preview = await stage.close.deletes.preview(query="lead_status:Old", s_query=s_query)
    assert preview.count is None
    assert preview.request["query"] == "lead_status:Old"
    assert not stage.sim.requests


# The answer to a count ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.server_error(503),
        faults.cut_before(),
        faults.cut_after(),
        faults.truncated_body(),
        faults.broken_json(),
        faults.no_content(),
        faults.too_many_requests(retry_after=3),
        faults.altered(without=["count"]),
        faults.altered(count=None),
        faults.altered(count=12),
        faults.altered(count={"limited": 0}),
        faults.altered(count={"limited": 0, "total": -1}),
        faults.altered(count={"limited": 0, "total": "12"}),
        faults.altered(count={"limited": 0, "total": True}),
        faults.altered(count={"limited": 0, "total": 12.0}),
    ],
    ids=lambda fault: f"{fault.name} {dict(fault.changes)}",
)
async def test_a_count_is_asked_for_again(stage: Stage, fault: Fault) -> None:
    """It is a POST that changes nothing: whatever went wrong with its answer, the next one counts."""
    stage.sim.matches = 12
    stage.sim.fail_next(fault)
    assert (await stage.close.deletes.preview(s_query=ACME)).count == 12
    assert [request.body for request in searches(stage.sim)] == [stage.sim.requests[0].body] * 2


@pytest.mark.parametrize(
    ("fault", "error", "n_requests"),
    [
        (faults.server_error(503), ServerError, 5),
        (faults.altered(count={"total": None}), DecodeError, 5),
        (faults.cut_before(), TransportError, 5),
        (faults.invalid_fields({"query": "Not a valid choice."}), BadRequestError, 1),
        (faults.too_many_requests(retry_after=7200), RateLimitedError, 1),
    ],
)
async def test_a_count_that_cannot_be_had_raises(
    stage: Stage, fault: Fault, error: type[CloseBulkError], n_requests: int
) -> None:
    """It is asked for as often as the policy allows, and not again where the service said no."""
    stage.sim.fail_next(fault, times=None)
    with pytest.raises(error):
        await stage.close.deletes.preview(s_query=ACME)
    assert len(stage.sim.requests) == n_requests


async def test_a_count_that_cannot_be_read_shows_what_came(stage: Stage) -> None:
    """The message names the request and what stood in the place of the number."""
    stage.sim.fail_next(faults.altered(count={"total": "many"}), times=None)
    with pytest.raises(DecodeError, match=r"POST /data/search/.*'count' holds \{'total': 'many'\}"):
        await stage.close.deletes.preview(s_query=ACME)


async def test_the_timeout_bounds_the_count(stage: Stage) -> None:
    """`timeout` bounds each exchange: those of the count as well."""
    stage.sim.fail_next(faults.hang(), times=None)
    with pytest.raises(TransportError, match="no answer within 7 s"):
        await stage.close.deletes.preview(s_query=ACME, timeout=7)
    assert 5 * 7 <= stage.now < 5 * 30


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_count_follows_no_redirect(stage: Stage, status: int) -> None:
    """A redirected POST may lose its body, so that it is asked again at its own address, and the redirect is shown."""
    elsewhere = faults.redirect("/api/v1/bulk_action/email/", status=status)
    stage.sim.fail_next(elsewhere)
    await stage.close.deletes.preview(s_query=ACME)
    stage.sim.fail_next(elsewhere, times=None)
    with pytest.raises(APIError, match=f"{status} "):
        await stage.close.deletes.preview(s_query=ACME)
    assert [request.path for request in stage.sim.requests] == [SEARCH] * 7


async def test_counts_share_a_connection(stage: Stage) -> None:
    """What may be repeated needs no connection of its own, and goes on where an idle one was closed."""

    def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text='{"data":[],"count":{"limited":0,"total":1}}', content_type="application/json")

    async with Peer(answer=answer) as peer, connect(peer, stage.clock) as close:
        for _ in range(2):
            await close.deletes.preview(s_query=ACME)
        assert len({seen.connection for seen in peer.seen}) == 1
    for _ in range(2):
        await stage.close.deletes.preview(s_query=ACME)
        stage.sim.drop_connections()


async def test_a_closed_client_counts_no_more(stage: Stage) -> None:
    """What is closed asks for no count."""
    await stage.close.aclose()
    with pytest.raises(ClientClosedError):
        await stage.close.deletes.preview(s_query=ACME)


# The guard ------------------------------------------------------------------------------------------------------------


@each_kind
async def test_too_many_matches_start_nothing(stage: Stage, kind: Kind) -> None:
    """More leads than `max_matches` raise before the POST, with the count in the error."""
    stage.sim.matches = 11
    with pytest.raises(TooManyMatchesError, match="matches 11 leads, and max_matches allows 10") as caught:
        await endpoint(stage.close, kind).create(s_query=ACME, max_matches=10, **KEYWORDS[kind])
    assert caught.value.count == 11
    assert not stage.sim.jobs
    assert not starts(stage.sim)


@each_kind
async def test_as_many_as_allowed_start(stage: Stage, kind: Kind) -> None:
    """As many leads as `max_matches` are counted once, before the POST, and one job is started."""
    stage.sim.matches = 10
    action = await endpoint(stage.close, kind).create(s_query=ACME, max_matches=10, **KEYWORDS[kind])
    assert [job.id for job in stage.sim.jobs] == [action.id]
    posted = [request.path for request in stage.sim.requests if request.method == "POST"]
    assert posted == [SEARCH, f"/api/v1/bulk_action/{kind}/"]


async def test_a_cap_keeps_matches_below_the_most(stage: Stage) -> None:
    """With a `results_limit` of no more than `max_matches`, given or by default, any number of matches passes."""
    stage.sim.matches = 10**6
    await stage.close.deletes.create(s_query=ACME, results_limit=5, max_matches=5)
    async with connect(stage.sim, stage.clock, defaults={"results_limit": 5}) as close:
        await close.deletes.create(s_query=ACME, max_matches=5)
        with pytest.raises(TooManyMatchesError, match="matches 5 leads"):
            await close.deletes.create(s_query=ACME, max_matches=4)
    assert len(stage.sim.jobs) == 2


async def test_nothing_may_match(stage: Stage) -> None:
    """`max_matches=0` lets a query pass that matches nobody, and no other."""
    stage.sim.matches = 0
    await stage.close.deletes.create(s_query=ACME, max_matches=0)
    stage.sim.matches = 1
    with pytest.raises(TooManyMatchesError):
        await stage.close.deletes.create(s_query=ACME, max_matches=0)


async def test_all_leads_are_counted(stage: Stage) -> None:
    """`allow_all` is leave to act on all, and `max_matches` still says how many that may be."""
    stage.sim.matches = 2000
    with pytest.raises(TooManyMatchesError):
        await stage.close.deletes.create(allow_all=True, max_matches=1999)
    assert not stage.sim.jobs


async def test_without_a_most_nothing_is_counted(stage: Stage) -> None:
    """A create without `max_matches` asks for no count."""
    await stage.close.deletes.create(s_query=ACME)
    assert not searches(stage.sim)


@pytest.mark.parametrize("s_query", [None, ACME])
async def test_a_search_text_cannot_be_guarded(stage: Stage, tmp_path: Path, s_query: dict[str, Any] | None) -> None:
    """`max_matches` with a legacy query is refused before any request, with the reason, and leaves no intent."""
    async with connect(stage.sim, stage.clock, journal=tmp_path / "journal.db") as close:
        with pytest.raises(InvalidRequestError, match="the service counts an s_query only, not the search text 'old'"):
            await close.deletes.create(query="old", s_query=s_query, max_matches=5, idempotency_key="key")
        assert not await close.journal.unfinished()
    assert not stage.sim.requests


async def test_the_guard_itself_refuses_a_search_text(stage: Stage) -> None:
    """Whoever calls it with a legacy query learns so, and not that nothing matched."""
    settings = Settings(
        base_url=stage.sim.base_url,
        auth=ApiKey(stage.sim.api_key),
        timeouts=Timeouts(),
        retry=RetryPolicy(),
        clock=stage.clock,
    )
    with pytest.raises(InvalidRequestError, match="search text 'old'"):
        await check_matches(Transport(settings), DeleteStart(query="old"), most=5)


@pytest.mark.parametrize("most", [-1, 1.5, "5", True])
async def test_the_most_is_a_number(stage: Stage, most: int) -> None:
    """Anything but an integer of at least 0 is refused before any request."""
    with pytest.raises(InvalidRequestError, match="max_matches must be an integer of at least 0"):
        await stage.close.deletes.create(s_query=ACME, max_matches=most)
    assert not stage.sim.requests


@pytest.mark.parametrize("fault", [faults.server_error(503), faults.cut_before(), faults.altered(without=["count"])])
async def test_no_count_no_start(stage: Stage, fault: Fault) -> None:
    """Where the service does not say how many, nothing is started."""
    stage.sim.fail_next(fault, path="/data/search/", times=None)
    with pytest.raises(CloseBulkError):
        await stage.close.deletes.create(s_query=ACME, max_matches=5)
    assert not stage.sim.jobs
    assert not starts(stage.sim)


# Previews -------------------------------------------------------------------------------------------------------------


@each_kind
async def test_a_preview_is_what_create_sends(stage: Stage, kind: Kind) -> None:
    """Request and fingerprint are those of the action that the same keywords then start; only the count is sent."""
    stage.sim.plan = Plan(n_leads=7)
    endpoint_ = endpoint(stage.close, kind)
    keywords = {"s_query": ACME, "results_limit": 5, "extra": {"new": 1}, **KEYWORDS[kind]}
    preview = await endpoint_.preview(**keywords)
    assert [request.path for request in stage.sim.requests] == [SEARCH]
    assert not stage.sim.jobs
    action = await endpoint_.create(**keywords)
    assert preview == Preview(
        kind=kind,
        count=5,
        fingerprint=fingerprint_of_action(action),
        request={"s_query": ACME, "results_limit": 5, "new": 1, **KEYWORDS[kind]},
    )
    (sent,) = starts(stage.sim)
    assert sent.json() == preview.request


async def test_a_preview_has_the_defaults_of_the_client(stage: Stage) -> None:
    """What a create would fill in from `defaults`, a preview shows and counts with."""
    stage.sim.matches = 50
    async with connect(stage.sim, stage.clock, defaults={"results_limit": 9, "send_done_email": False}) as close:
        preview = await close.deletes.preview(s_query=ACME)
    assert preview.count == 9
    assert preview.request == {"s_query": ACME, "results_limit": 9, "send_done_email": False}


async def test_a_preview_belongs_to_its_caller(stage: Stage) -> None:
    """Its request is a copy: changing it changes nothing of the query that it was made from."""
    query = {"type": "id", "value": "lead_1"}
    preview = await stage.close.deletes.preview(s_query=query)
    preview.request["s_query"]["value"] = "lead_2"
    assert query["value"] == "lead_1"


async def test_options_of_a_create_pass_through_a_preview(stage: Stage) -> None:
    """The keywords that say how to start are checked and change nothing: what is too many is told, not raised."""
    stage.sim.matches = 50
    options: dict[str, Any] = {"max_matches": 1, "on_ambiguous": "raise", "idempotency_key": "k", "timeout": 5}
    preview = await stage.close.deletes.preview(s_query=ACME, **options)
    assert (preview.count, preview.request) == (50, {"s_query": ACME})
    with pytest.raises(InvalidRequestError, match="on_ambiguous"):
        await stage.close.deletes.preview(s_query=ACME, **{**options, "on_ambiguous": "hope"})


@each_kind
async def test_a_preview_is_guarded_as_a_create(stage: Stage, kind: Kind) -> None:
    """A query that cannot exclude a lead is refused, and nothing is sent."""
    with pytest.raises(UnsafeQueryError):
        await endpoint(stage.close, kind).preview(s_query={}, **KEYWORDS[kind])
    assert not stage.sim.requests


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda close: close.emails.preview(template_id="tmpl_1", s_query=ACME), TypeError),
        (lambda close: close.emails.preview("tmpl_1", "emailacct_1", s_query=ACME), TypeError),
        (lambda close: close.emails.preview(s_query=ACME, dry=True, **EMAIL), TypeError),
        (lambda close: close.deletes.preview(ACME), TypeError),
        (lambda close: close.edits.preview(s_query=ACME, type="set_lead_status"), InvalidRequestError),
        (lambda close: close.sequence_subscriptions.preview(s_query=ACME, action_type="stop"), InvalidRequestError),
    ],
)
async def test_a_preview_takes_no_other_keywords(
    stage: Stage, call: Callable[[Any], Coroutine[Any, Any, Preview]], error: type[Exception]
) -> None:
    """What `create` refuses, `preview` refuses, and nothing is sent."""
    with pytest.raises(error):
        await call(stage.close)
    assert not stage.sim.requests


@each_kind
def test_help_shows_the_keywords_of_a_preview(kind: Kind) -> None:
    """The signature is that of `create`, but for what comes back; the docstring is its own."""
    cls = type(endpoint(CloseBulk("api_x"), kind))
    create, preview = inspect.signature(cls.create), inspect.signature(cls.preview)
    assert preview.parameters == create.parameters
    assert preview.return_annotation == "Preview"
    assert cls.preview.__name__ == "preview"
    assert cls.preview.__doc__ != cls.create.__doc__


async def test_a_client_without_retries_counts_once(stage: Stage) -> None:
    """The policy of the client bounds the count, as any read."""
    stage.sim.fail_next(faults.server_error(503))
    async with connect(stage.sim, stage.clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(ServerError):
            await close.deletes.preview(s_query=ACME)
    assert len(stage.sim.requests) == 1
