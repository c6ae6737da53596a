"""Models whose fields hold what does not belong there: each is read or refused, and what was read can be used."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import BulkEmail, CloseBulk, CloseBulkError, InvalidRequestError, RetryPolicy
from closebulk_async.convert import DEEPEST, decode
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.progress import observe
from closebulk_async.testing.fake_clock import START
from tests.hostile.answers import whole
from tests.hostile.bodies import RAW, dump, odd_rows, odd_tokens, odd_webhooks
from tests.hostile.calls import FEW, READS, REFS, WAITS, WRITES, connect, grants
from tests.hostile.judging import judge, try_all
from tests.hostile.servers import hostile, response

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

pytestmark = pytest.mark.unmeasured

KINDS = (*BULK_KINDS, Kind.EXPORT)
WATCHED = ("status", "n_objects", "n_objects_processed", "n_leads", "date_updated", "n_docs", "download_url", "the id")


def use(value: object) -> None:
    """Do with a model what anybody may do."""
    assert repr(value)
    assert value == copy.copy(value)
    for name in ("to_dict", "to_json"):
        getattr(value, name)()
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - made right here


async def read(close: CloseBulk, ref: str) -> None:
    """Read an action, and use it."""
    use(await close.get(ref))


async def read_page(close: CloseBulk, kind: Kind) -> None:
    """Read a list, and use its rows."""
    endpoints: dict[Kind, Any] = {Kind.EMAIL: close.emails, Kind.DELETE: close.deletes, Kind.EDIT: close.edits}
    endpoints |= {Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions, Kind.EXPORT: close.exports}
    for row in (await endpoints[kind].list()).data:
        use(row)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_field_of_another_type(clock: FakeClock, kind: Kind) -> None:
    """In one action and in a row of a list: what was read can be shown, compared, copied, written and pickled."""
    outcomes = set()
    async with (
        hostile(clock, whole(b"")) as server,
        connect(server, clock, retry=RetryPolicy(attempts=1)) as close,
    ):
        for _, row in odd_rows(kind):
            server.script = whole(response(dump(row)))
            outcomes.add(type(await judge(lambda close: read(close, REFS[kind]), close)))
            server.script = whole(response(dump({"data": [row], "has_more": False})))
            outcomes.add(type(await judge(lambda close: read_page(close, kind), close)))
    assert {cls.__name__ for cls in outcomes} == {"NoneType", "DecodeError"}


@pytest.mark.parametrize("kind", [Kind.EMAIL, Kind.EXPORT])
async def test_a_wait_for_what_makes_no_sense(clock: FakeClock, kind: Kind) -> None:
    """It ends, whatever status, counters and dates it is shown."""
    async with hostile(clock, whole(b"")) as server:
        for name, row in odd_rows(kind):
            if any(f": {field} is" in name for field in WATCHED):
                server.script = whole(response(dump(row)))
                async with connect(server, clock) as close:
                    await judge(lambda close: close.wait_until_done(REFS[kind], timeout=15), close)


@pytest.mark.parametrize("total", [-(2**63), -5, 0, 1, 2**64 - 1, None])
@pytest.mark.parametrize("processed", [-(2**63), -5, 0, 1, 2**64 - 1])
def test_progress_of_impossible_counters(total: int | None, processed: int) -> None:
    """A fraction lies between 0 and 1, a rate is positive and a rest is no negative time, or there is none."""
    before = observe(None, BulkEmail.example(n_objects=5, n_objects_processed=1), at=0.0, now=START)
    action = BulkEmail.example(n_objects=total, n_objects_processed=processed)
    for meter in (observe(None, action, at=0.0, now=START), observe(before, action, at=1e-9, now=START)):
        assert meter.fraction is None or 0 <= meter.fraction <= 1
        assert meter.rate is None or meter.rate > 0
        assert meter.eta is None or meter.eta >= 0


async def test_subscriptions_and_tokens_of_other_types(clock: FakeClock) -> None:
    """The same of webhooks and of the token endpoint; the `events` of a webhook are objects, and no deeper than any."""
    items: list[tuple[str, bytes, Any]] = []
    for name, row in odd_webhooks():
        page = dump({"data": [row], "has_more": False})
        items.append((name, page, WRITES["ensure a webhook"]))
        if "event" in name:
            items += [(name, page, READS["webhooks"]), (name, page, WRITES["make a webhook"])]
            items.append((name, dump(row), WRITES["change a webhook"]))
    items += [(name, dump(token), call) for name, token in odd_tokens() for call in grants(clock).values()]
    errors = {}
    async with hostile(clock, whole(b"")) as server:
        for name, body, call in items:
            server.script = whole(response(body))
            async with connect(server, clock, retry=RetryPolicy(attempts=1)) as close:
                errors[name] = await judge(call, close)
    assert isinstance(errors["webhook: events is a list of numbers"], CloseBulkError)
    assert isinstance(errors["webhook: an event that is deep"], CloseBulkError)


@pytest.mark.parametrize("name", list(RAW))
async def test_json_that_nobody_means(name: str) -> None:
    """One call of a kind each: it ends with an error of the package, or with what it made of it."""
    await try_all(whole(response(RAW[name])), only=FEW.__contains__)


def deep(levels: int) -> dict[str, Any]:
    """A query of queries."""
    query: dict[str, Any] = {"type": "and"}
    for _ in range(levels - 1):
        query = {"q": query}
    return query


@pytest.mark.parametrize("levels", [DEEPEST - 1, DEEPEST + 1, 600, 1000])
async def test_a_query_that_is_nested_deeply(clock: FakeClock, levels: int) -> None:
    """An action that shows one is read and waited for, shown and compared; copied only where it can be written."""
    body = BulkEmail.example(id="bulkemail_1", status="done").to_json().encode()
    text = b'{"q":' * (levels - 1) + b'{"type":"and"}' + b"}" * (levels - 1)
    body = body.replace(b'{"type":"id","value":"lead_example"}', text)
    async with hostile(clock, whole(response(body))) as server, connect(server, clock) as close:
        one, other = await close.emails.get("bulkemail_1"), await close.wait_until_done("email:bulkemail_1")
        server.script = whole(response(b'{"data":[' + body + b"]}"))
        assert len((await close.emails.list()).data) == 1
        assert await judge(WAITS["watch what runs"], close) is None
    assert one == other
    assert repr(one)
    if levels < DEEPEST:
        use(one)
        assert one.to_dict()["s_query"] == deep(levels)
        return
    for copied in (one.to_dict, one.to_json, lambda: pickle.dumps(one), lambda: BulkEmail.from_dict({"sort": one})):
        with pytest.raises(InvalidRequestError):
            copied()


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "2"), ("[1]", "[1,2]"), ('{"a":1}', '{"b":1}'), ('{"a":1}', "[1]"), ("[[1],2]", "[[1],3]")],
)
def test_deep_values_that_differ_are_not_equal(one: str, other: str) -> None:
    """Wherever they differ, also where they are nested more deeply than Python compares."""
    good = BulkEmail.example().to_json()

    def of(end: str) -> BulkEmail:
        nested = '{"q":' * 900 + end + "}" * 900
        return decode(good.replace('{"type":"id","value":"lead_example"}', nested).encode(), BulkEmail)

    assert of(one) == of(one)
    assert of(one) != of(other)
