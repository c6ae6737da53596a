"""Every call of the client that sends something, by its name."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from closebulk_async import (
    CloseBulk,
    Export,
    OAuth,
    PollPolicy,
    RetryPolicy,
    desc,
    exchange_code,
    revoke_token,
)
from closebulk_async.models import BULK_KINDS, Kind
from tests.stage import KEYWORDS, QUERY, create

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock
    from tests.hostile.servers import Hostile

KEY = "api_1hostile1hostile.2hostile2hostile"
CLIENT_SECRET, REFRESH_TOKEN = "client_secret_3hostile3", "refresh_token_4hostile4"
SECRETS = (KEY, CLIENT_SECRET, REFRESH_TOKEN)

Call: TypeAlias = Callable[[CloseBulk], Awaitable[object]]

HURRIED = PollPolicy(floor=2, ceiling=5, lost_after=20, settle=2)
"""A wait that is soon lost, and a start that is soon given up."""

SECONDS = 30
"""For which a wait waits that is not lost: a service may show for ever that a job runs."""

MOST = 2500
"""Rows of a stream that these calls take: more than a service without malice shows here."""

URL = "https://example.com/close/webhook"
REFS: Mapping[Kind, str] = {kind: f"{kind}:bulk{kind}_1" for kind in (*BULK_KINDS, Kind.EXPORT)}


def connect(server: Hostile, clock: FakeClock, **options: Any) -> CloseBulk:
    """A client of that server, still to be opened, that gives up soon."""
    given: dict[str, Any] = {"base_url": server.base_url, "poll": HURRIED, "retry": RetryPolicy(attempts=2)}
    return CloseBulk(KEY, clock=clock, **{**given, **options})


def oauth() -> OAuth:
    """A grant whose first request is a refresh."""
    return OAuth("client_1", CLIENT_SECRET, REFRESH_TOKEN)


async def take(rows: AsyncIterator[Any]) -> list[Any]:
    """What a stream gives, up to the most that these calls bear."""
    taken: list[Any] = []
    async with aclosing(rows) as stream:  # type: ignore[type-var]  # they are all generators
        async for row in stream:
            taken.append(row)
            if len(taken) >= MOST:
                break
    return taken


async def summarize(close: CloseBulk, *, kind: Kind) -> object:
    """What an action did, with all that is told of each object."""
    outcomes = close.outcomes(REFS[kind])
    return [one.to_dict() async for one in outcomes], outcomes.summary.to_dict()


async def download(close: CloseBulk, link: str) -> object:
    """The file behind a link that some export shows."""
    export = Export.example(status="done", download_url=link)
    with tempfile.TemporaryDirectory() as folder:
        path = await close.exports.download(export, Path(folder) / "leads.csv")
        return path.stat().st_size


async def read_file(close: CloseBulk, link: str) -> object:
    """The same, piece by piece."""
    export = Export.example(status="done", download_url=link)
    return sum([len(piece) async for piece in close.exports.stream(export)])


def _base_url(close: CloseBulk) -> str:
    return repr(close).partition("'")[2].partition("'")[0]


async def _exchange(close: CloseBulk, *, clock: FakeClock) -> object:
    return await exchange_code(
        "code_12345678", client_id="client_1", client_secret=CLIENT_SECRET, base_url=_base_url(close), clock=clock
    )


async def _revoke(close: CloseBulk, *, clock: FakeClock) -> None:
    await revoke_token(
        REFRESH_TOKEN, client_id="client_1", client_secret=CLIENT_SECRET, base_url=_base_url(close), clock=clock
    )


async def _me_by_grant(close: CloseBulk, *, clock: FakeClock) -> object:
    options = {"clock": clock, "retry": RetryPolicy(attempts=2)}
    async with CloseBulk(auth=oauth(), base_url=_base_url(close), **options) as other:  # type: ignore[arg-type]  # these two
        return await other.me()


READS: Mapping[str, Call] = {
    "me": lambda close: close.me(),
    **{f"get {kind}": partial(CloseBulk.get, ref=ref) for kind, ref in REFS.items()},
    "get, narrowed": lambda close: close.emails.get("bulkemail_1", fields=["sender"]),
    "list emails": lambda close: close.emails.list(),
    "list deletes": lambda close: close.deletes.list(),
    "list edits": lambda close: close.edits.list(),
    "list sequences": lambda close: close.sequence_subscriptions.list(),
    "list exports": lambda close: close.exports.list(),
    "iterate": lambda close: take(close.emails.iterate()),
    "recent": lambda close: close.recent(limit=5),
    "recent, active": lambda close: close.recent(limit=5, active=True),
    "count": lambda close: close.search.count(QUERY),
    "search": lambda close: take(close.search.iterate(QUERY)),
    "search, sorted": lambda close: take(close.search.iterate(QUERY, sort=[desc("name")])),
    "preview": lambda close: close.emails.preview(s_query=QUERY, **KEYWORDS[Kind.EMAIL]),
    "webhooks": lambda close: close.webhooks.list(),
    "webhook": lambda close: close.webhooks.get("whsub_1"),
    **{f"outcomes of {kind}": partial(summarize, kind=kind) for kind in BULK_KINDS},
}
"""Those that change nothing."""

WAITS: Mapping[str, Call] = {
    "wait": lambda close: close.wait_until_done("email:bulkemail_1", timeout=SECONDS),
    "wait for all": lambda close: close.wait_all(list(REFS.values()), timeout=SECONDS),
    "watch": lambda close: take(close.watch(*REFS.values(), timeout=SECONDS)),
    "watch what runs": lambda close: take(close.watch_active(timeout=SECONDS)),
    "download, link unknown": lambda close: close.exports.download("expo_1", Path(tempfile.gettempdir()) / "no.csv"),
}

WRITES: Mapping[str, Call] = {
    "pause": lambda close: close.pause("email:bulkemail_1"),
    "resume": lambda close: close.resume("edit:bulkedit_1"),
    "export leads": lambda close: close.exports.create_leads(format="csv"),
    "export opportunities": lambda close: close.exports.create_opportunities(format="json"),
    "make a webhook": lambda close: close.webhooks.create(
        url=URL, events=[{"object_type": "lead", "action": "deleted"}]
    ),
    "change a webhook": lambda close: close.webhooks.update("whsub_1", status="paused"),
    "delete a webhook": lambda close: close.webhooks.delete("whsub_1"),
    "ensure a webhook": lambda close: close.webhooks.ensure(URL, signature_key="00ff"),
}

STARTS: Mapping[str, Call] = {f"start {kind}": partial(create, kind=kind) for kind in BULK_KINDS}


def grants(clock: FakeClock) -> Mapping[str, Call]:
    """Those of OAuth, which have clients or clocks of their own."""
    return {
        "exchange a code": partial(_exchange, clock=clock),
        "revoke a token": partial(_revoke, clock=clock),
        "me, by a grant": partial(_me_by_grant, clock=clock),
    }


def files(link: str) -> Mapping[str, Call]:
    """Those that fetch a file."""
    return {"download": partial(download, link=link), "stream": partial(read_file, link=link)}


def all_calls(server: Hostile, clock: FakeClock) -> Mapping[str, Call]:
    """Every one there is."""
    return {**READS, **WAITS, **WRITES, **STARTS, **grants(clock), **files(f"{server.base_url}/file.gz")}


FEW = frozenset(
    {
        "me",
        "get email",
        "list edits",
        "recent",
        "count",
        "search",
        "webhooks",
        "outcomes of delete",
        "wait",
        "watch what runs",
        "pause",
        "ensure a webhook",
        "start email",
        "exchange a code",
        "me, by a grant",
        "download",
    }
)
"""One for each way in which answers are read."""
