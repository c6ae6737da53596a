"""What `closebulk doctor` makes of what it read: a judgement in words for each thing, and what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from closebulk_async.cli.texts import cleaned
from closebulk_async.errors import (
    APIError,
    AuthenticationError,
    CloseBulkError,
    PermissionDeniedError,
    ServerError,
    TransportError,
)
from closebulk_async.models import Kind
from closebulk_async.oauth_wire import BASE_URL
from closebulk_async.webhook_models import BULK_ACTION

if TYPE_CHECKING:
    from closebulk_async.limits import GroupLimits
    from closebulk_async.webhook_models import Webhook

SKEW_NOTED, SKEW_BAD = timedelta(seconds=5), timedelta(seconds=60)
"""Tokens are renewed a minute before their end; a few seconds are what an honest clock and a slow answer come to."""

FEW_LEFT = 0.1
"""The part of a limit below which somebody may be about to hit it."""

MOST_WEBHOOKS = 40
"""Subscriptions of one organization, by the vendor's documentation; it allows a few of its partners more."""

JOB_OBJECTS = (BULK_ACTION, "export.")
"""What the object types of events about jobs begin with."""


class Grade(StrEnum):
    """How a thing stands. Only `fail` makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@attrs.frozen
class Finding:
    """One thing that was looked at: how it stands, and what to do where anything should be done."""

    grade: Grade
    what: str
    finding: str
    advice: str | None = None

    def __str__(self) -> str:
        """`warn  clock: 12 s ahead of Close's: set this machine's clock`."""
        return f"{self.grade:<4}  {self.what}: {cleaned(': '.join(filter(None, (self.finding, self.advice))))}"


def to_dict(finding: Finding, *, redact: Callable[[str], str]) -> dict[str, str | None]:
    """The same as JSON."""
    return {
        "grade": str(finding.grade),
        "what": finding.what,
        "finding": redact(finding.finding),
        "advice": None if finding.advice is None else redact(finding.advice),
    }


def ok(what: str, finding: str, advice: str | None = None) -> Finding:
    """All is well."""
    return Finding(Grade.OK, what, finding, advice)


def warn(what: str, finding: str, advice: str | None = None) -> Finding:
    """It works, and somebody should know."""
    return Finding(Grade.WARN, what, finding, advice)


def fail(what: str, finding: str, advice: str | None = None) -> Finding:
    """It does not work."""
    return Finding(Grade.FAIL, what, finding, advice)


def judge_base_url(base_url: str) -> Finding:
    """Where requests go."""
    if base_url == BASE_URL:
        return ok("base URL", base_url)
    return warn("base URL", f"{base_url} is not Close's own", "unset CLOSE_BASE_URL, unless that is meant")


def judge_refusal(origin: str, error: CloseBulkError) -> Finding:
    """Why `/me/` could not be read as `origin`."""
    if isinstance(error, AuthenticationError):
        advice = "make a new key in Close (Settings, Developer), or log in again: closebulk login"
        return fail("key", f"{origin} is refused: {error}", advice)
    if isinstance(error, PermissionDeniedError):
        return fail("key", f"{origin} may not read whose it is: {error}", "ask an admin of the organization")
    return fail("key", f"{origin} could not be tried: {error}", _advise(error))


def judge_skew(skew: timedelta | None) -> Finding:
    """How far this machine's clock is ahead."""
    if skew is None:
        return warn("clock", "Close did not say what time it is")
    seconds = skew.total_seconds()
    finding = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} Close's"
    if abs(skew) <= SKEW_NOTED:
        return ok("clock", f"agrees with Close's, to {SKEW_NOTED.total_seconds():.0f} s")
    advice = "set this machine's clock (NTP): tokens, webhook signatures and the search for lost starts go by it"
    return warn("clock", finding, advice) if abs(skew) <= SKEW_BAD else fail("clock", finding, advice)


def judge_list(kind: Kind, error: CloseBulkError | None) -> Finding:
    """Whether actions of a kind can be read."""
    if error is None:
        return ok(f"list of {kind}", "can be read")
    if isinstance(error, PermissionDeniedError):
        advice = "an admin of the organization can allow it to the role of this user"
        return fail(f"list of {kind}", f"may not be read: {error}", advice)
    return fail(f"list of {kind}", f"cannot be read: {error}", _advise(error))


def _advise(error: CloseBulkError) -> str | None:
    if isinstance(error, TransportError):
        return "see that this machine reaches the base URL: network, firewall, CLOSE_BASE_URL"
    if isinstance(error, ServerError):
        return "that is trouble on Close's side: try again later"
    return "is the base URL right?" if isinstance(error, APIError) and error.status == 404 else None  # noqa: PLR2004 - 404


def judge_limits(groups: Mapping[str, GroupLimits]) -> Finding:
    """What the answers so far have said of rate limits."""
    shown = [
        (group.group, each.limit, each.remaining)
        for group in groups.values()
        for each in group.shown
        if each.remaining is not None
    ]
    n_throttled = sum(group.n_throttled for group in groups.values())
    others = "other programs use the same key or organization: closebulk limits shows how much is left"
    if n_throttled:
        return warn("rate limits", f"Close turned away {n_throttled} requests just now (429)", others)
    if not shown:
        return warn("rate limits", "no answer says any", "waits then go by 429s alone, which is slower to recover")
    group, limit, left = min(shown, key=lambda each: each[2] / max(each[1], 1.0))
    finding = f"the least that is left are {left:g} of {limit:g} requests, of {group}"
    return ok("rate limits", finding) if left > FEW_LEFT * limit else warn("rate limits", finding, others)


def judge_webhooks(webhooks: Sequence[Webhook]) -> Iterator[Finding]:
    """Whether webhooks tell of jobs, and what keeps them from it."""
    about_jobs = [webhook for webhook in webhooks if _is_about_jobs(webhook)]
    for webhook in about_jobs:
        if not webhook.is_active:
            finding = f"{webhook.id}, to {_plain_url(webhook.url)}, is {webhook.status}: nothing is sent there"
            yield warn("webhooks", finding, "see that the address answers, then close.webhooks.ensure(url)")
    for url, times in Counter(webhook.url for webhook in about_jobs if webhook.is_active).items():
        if times > 1:
            finding = f"{times} active subscriptions tell {_plain_url(url)} of jobs, so that events come more than once"
            yield warn("webhooks", finding, "delete all but one")
    if len(webhooks) >= MOST_WEBHOOKS:
        finding = f"there are {len(webhooks)} subscriptions, and an organization may have {MOST_WEBHOOKS}"
        yield warn("webhooks", finding, "delete those that nobody needs, before one more is wanted")
    n_active = sum(webhook.is_active for webhook in about_jobs)
    if n_active:
        yield ok("webhooks", f"{n_active} of {len(webhooks)} subscriptions tell of jobs")
    elif not about_jobs:
        finding = f"none of {len(webhooks)} subscriptions tells of jobs, so that waits go by polls alone"
        yield ok("webhooks", finding, "close.webhooks.ensure(url) makes one, for a service")


def _is_about_jobs(webhook: Webhook) -> bool:
    events = getattr(webhook, "events", None) or []
    return any(str(event.get("object_type")).startswith(JOB_OBJECTS) for event in events)


def _plain_url(url: str) -> str:
    """Without what may be a secret: people put tokens into the addresses of their receivers."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
