"""What `closebulk doctor` makes of what it read: a judgement in words for each thing, and what to do. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from closebulk_async.cli.texts import cleaned
from closebulk_async.errors import (
    AuthenticationError,
    CloseBulkError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
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

KEY_VARIABLE = "CLOSE_API_KEY"
"""What a key of the environment is called; other keys and logins are those of profiles."""

FEW_LEFT = 0.1
"""The part of a limit below which somebody may be about to hit it."""

MOST_WEBHOOKS = 40
"""Subscriptions of one organization, by the vendor's documentation; it allows a few of its partners more."""

JOB_OBJECTS = (BULK_ACTION, "export.")
"""What the object types of events about jobs begin with."""


class Grade(StrEnum):
    """How a thing stands. Only `fail` makes the exit code another than 0."""

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
    is_usage: bool = False
    """Whether the fault is in what was typed or set: such a failure has the exit code of wrong usage."""

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


def warn(what: str, finding: str, advice: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(Grade.WARN, what, finding, advice)


def fail(what: str, finding: str, advice: str, *, is_usage: bool = False) -> Finding:
    """It does not work."""
    return Finding(Grade.FAIL, what, finding, advice, is_usage)


def judge_base_url(base_url: str, *, origin: str) -> Finding:
    """Where requests go as `origin`. A profile has a base URL of its own."""
    if base_url == BASE_URL:
        return ok("base URL", base_url)
    if origin == KEY_VARIABLE:
        advice = "unset CLOSE_BASE_URL, unless that is meant"
    else:
        advice = f"it comes with {origin}: log in again without CLOSE_BASE_URL, unless that is meant"
    return warn("base URL", f"{base_url} is not Close's own", advice)


def judge_refusal(origin: str, error: CloseBulkError, *, login: str) -> Finding:
    """Why `/me/` could not be read as `origin`. `login` is the command that keeps a key."""
    if isinstance(error, AuthenticationError):
        how = "set CLOSE_API_KEY to it" if origin == KEY_VARIABLE else f"keep it: {login}"
        return fail("key", f"{origin} is refused: {error}", f"make a new key in Close (Settings, Developer), and {how}")
    if isinstance(error, PermissionDeniedError):
        return fail("key", f"{origin} may not read whose it is: {error}", "ask an admin of the organization")
    return fail("key", f"{origin} could not be tried: {error}", _advise(error))


def judge_skew(skew: timedelta | None) -> Finding:
    """How far this machine's clock is ahead."""
    if skew is None:
        advice = "see by another clock that this machine's is right; a proxy may take away the header Date"
        return warn("clock", "Close did not say what time it is", advice)
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


def _advise(error: CloseBulkError) -> str:
    if isinstance(error, TransportError):
        return "see that the base URL is right, and that this machine reaches it: network, firewall, proxies"
    if isinstance(error, ServerError):
        return "that is trouble on Close's side: try again later"
    if isinstance(error, RateLimitedError):
        return "other programs use the same key or organization: try again in a minute"
    if isinstance(error, PlanLimitError):
        return "see which plan the organization has at Close"
    if isinstance(error, NotFoundError | DecodeError):
        return "is the base URL right?"
    return "nothing else is known of it: where the message does not help, ask Close's support"


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
        advice = "see whether a proxy takes the header RateLimit away: without it only a 429 tells of a limit"
        return warn("rate limits", "no answer says any", advice)
    group, limit, left = min(shown, key=lambda each: each[2] / max(each[1], 1.0))
    finding = f"the least that is left are {left:g} of {limit:g} requests, of {group}"
    return ok("rate limits", finding) if left > FEW_LEFT * limit else warn("rate limits", finding, others)


def judge_unlisted(error: CloseBulkError) -> Finding:
    """Why webhooks could not be listed. Not all need them, and not all users may see them."""
    is_forbidden = isinstance(error, PermissionDeniedError)
    advice = "it matters to services with webhooks alone; an admin may see them" if is_forbidden else _advise(error)
    return warn("webhooks", f"they cannot be listed: {error}", advice)


def judge_webhooks(webhooks: Sequence[Webhook]) -> Iterator[Finding]:
    """Whether webhooks tell of jobs, and what keeps them from it."""
    about_jobs = [webhook for webhook in webhooks if _is_about_jobs(webhook)]
    for webhook in about_jobs:
        if not webhook.is_active:
            finding = f"{webhook.id}, to {_plain_url(webhook.url)}, is {webhook.status}: nothing is sent there"
            yield warn("webhooks", finding, "see that the address answers, then close.webhooks.ensure(url)")
    by_url = defaultdict(list)
    for webhook in about_jobs:
        if webhook.is_active:
            by_url[webhook.url].append(webhook.id)
    for url, ids in by_url.items():
        if len(ids) > 1:
            told = f"{len(ids)} active subscriptions tell one address of {_plain_url(url)} of jobs"
            advice = f"delete all but one of {', '.join(ids)}"
            yield warn("webhooks", f"{told}, so that events come more than once", advice)
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
    """Scheme and host: the path too may be all that keeps others from a receiver, as with Slack's and Zapier's."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
