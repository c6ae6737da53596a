"""What `closebulk doctor` looks at, one thing after the other. It reads, and nothing else."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncGenerator
from importlib.metadata import version
from pathlib import Path

from closebulk_async.cli.clients import connect, read_lists
from closebulk_async.cli.credentials import Credentials, find_credentials
from closebulk_async.cli.exits import ExitCode, code_of, is_missing_key, login_command
from closebulk_async.cli.findings import (
    Finding,
    fail,
    judge_base_url,
    judge_limits,
    judge_list,
    judge_refusal,
    judge_skew,
    judge_unlisted,
    judge_webhooks,
    ok,
)
from closebulk_async.cli.journal_looks import judge_journal
from closebulk_async.client import CloseBulk
from closebulk_async.errors import CloseBulkError, PermissionDeniedError
from closebulk_async.policy import RetryPolicy
from closebulk_async.version import __version__

IMPATIENT = RetryPolicy(attempts=2, max_wait=10.0)
"""Whoever asks what is wrong waits for the answer; one repeat tells an accident from a state."""


async def check(journal: Path | None) -> AsyncGenerator[Finding, None]:
    """All findings, as they are known."""
    yield ok(
        "versions", f"closebulk-async {__version__}, Python {platform.python_version()}, aiohttp {version('aiohttp')}"
    )
    async for finding in _check_service():
        yield finding
    for finding in await asyncio.to_thread(lambda: list(judge_journal(journal))):
        yield finding


async def _check_service() -> AsyncGenerator[Finding, None]:
    try:
        credentials = find_credentials()
        close = connect(credentials=credentials, retry=IMPATIENT)
    except CloseBulkError as exc:
        said, advice = str(exc), "`closebulk --help` says whose key is taken"
        if is_missing_key(exc):
            said, advice = "there is none", f"set CLOSE_API_KEY, or keep a key: {login_command()}"
        yield fail("key", said, advice, is_usage=code_of(exc) is ExitCode.USAGE)
        return
    yield judge_base_url(credentials.base_url, origin=credentials.origin)
    async with close:
        async for finding in _check_key(close, credentials):
            yield finding


async def _check_key(close: CloseBulk, credentials: Credentials) -> AsyncGenerator[Finding, None]:
    try:
        me = await close.me()
    except CloseBulkError as exc:
        yield judge_refusal(credentials.origin, exc, login=login_command())
        if not isinstance(exc, PermissionDeniedError):  # the rest would only say the same again
            return
    else:
        yield ok("key", f"{credentials.origin} works: it is that of {me.user_id}")
        yield judge_skew(me.clock_skew)
    for kind, error in (await read_lists(close)).items():
        yield judge_list(kind, error)
    yield judge_limits(close.limits)
    try:
        webhooks = await close.webhooks.list()
    except CloseBulkError as exc:
        yield judge_unlisted(exc)
        return
    for finding in judge_webhooks(webhooks):
        yield finding
