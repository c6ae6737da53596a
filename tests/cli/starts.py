"""Starts from the command line, and journals that earlier ones have left behind."""

from __future__ import annotations

import json
import uuid
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from closebulk_async import CloseBulk
from closebulk_async.fingerprints import fingerprint_of
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.models import Kind
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.starts import EmailStart
from tests.peers import ACME, start_email

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Request, Simulator

QUERY = json.dumps(ACME)
EMAIL = ("start", "email", "--template-id", "tmpl_1", "--email-account-id", "emailacct_1", "--query", QUERY)
DELETE = ("start", "delete", "--query", QUERY)


def starts(sim: Simulator) -> list[Request]:
    """The POSTs that start a job."""
    return [request for request in sim.requests if request.method == "POST" and "/bulk_action/" in request.path]


async def start(sim: Simulator, journal: Path | None = None, *, key: str | None = None) -> str:
    """Start an email as another process has done that has ended by now; its ref."""
    async with CloseBulk(sim.api_key, base_url=sim.base_url, journal=journal) as close:
        if key is None:
            return str((await start_email(close)).ref)
        action = await close.emails.create(
            template_id="tmpl_1", email_account_id="emailacct_1", s_query=ACME, idempotency_key=key
        )
        return str(action.ref)


async def crash(sim: Simulator, path: Path, *, key: str | None = None) -> str:
    """Leave the intent of an email whose process died yesterday, after its POST may have left; its id."""
    request = EmailStart(template_id="tmpl_1", email_account_id="emailacct_1", s_query=ACME)
    journal = SqliteJournal(path)
    async with aclosing(journal):
        intent = await journal.begin(
            Intent(
                id=uuid.uuid4().hex,
                scope=f"{sim.base_url} {sim.organization_id}",
                kind=Kind.EMAIL,
                body=request.to_json(),
                fingerprint=fingerprint_of(Kind.EMAIL, request.body()),
                created_at=datetime.now(UTC) - timedelta(days=1),
                idempotency_key=key,
                created_by=sim.user_id,
                state=State.NEW,
                owner=await journal.enter(),
                fence=Fence(ids=frozenset()),
            )
        )
        posting = await journal.swap(evolve(intent, state=State.POSTING))
    assert posting is not None
    return intent.id


async def state_of(path: Path, id: str) -> State:
    """How far an intent is."""
    journal = SqliteJournal(path)
    async with aclosing(journal):
        intent = await journal.get(id)
    assert intent is not None
    return intent.state
