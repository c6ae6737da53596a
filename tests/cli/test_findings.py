"""The judgements of `closebulk doctor`, each from what was read."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closebulk_async import cli
from closebulk_async.cli.findings import (
    Finding,
    Grade,
    judge_base_url,
    judge_limits,
    judge_list,
    judge_refusal,
    judge_skew,
    judge_webhooks,
    to_dict,
)
from closebulk_async.errors import (
    APIError,
    AuthenticationError,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from closebulk_async.limits import GroupLimits, ShownLimit
from closebulk_async.models import Kind
from closebulk_async.webhook_models import Webhook

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
REQUEST = "GET /me/"
LOGIN = "closebulk --profile work login --api-key"
FOLDER = Path(cli.__file__).parent
LEADS = [{"object_type": "lead", "action": "updated"}]
EXPORTS = [{"object_type": "export.lead", "action": "completed"}]


def make_limits(*left: tuple[float, float | None], n_throttled: int = 0) -> dict[str, GroupLimits]:
    """One group, with these limits and what is left of each."""
    shown = tuple(ShownLimit(limit=limit, remaining=remaining, resets_at=NOW, seen_at=NOW) for limit, remaining in left)
    return {"GET /export/": GroupLimits(group="GET /export/", shown=shown, n_throttled=n_throttled)}


@pytest.mark.parametrize(
    ("seconds", "grade", "finding"),
    [
        (0, Grade.OK, "agrees with Close's, to 5 s"),
        (-5, Grade.OK, "agrees with Close's, to 5 s"),
        (5.6, Grade.WARN, "6 s ahead of Close's"),
        (-60, Grade.WARN, "60 s behind Close's"),
        (61, Grade.FAIL, "61 s ahead of Close's"),
        (-86400, Grade.FAIL, "86400 s behind Close's"),
    ],
)
def test_clocks(seconds: float, grade: Grade, finding: str) -> None:
    """Five seconds are nothing, and more than a minute is a failure; what is off has to be set."""
    found = judge_skew(timedelta(seconds=seconds))
    assert (found.grade, found.finding) == (grade, finding)
    assert (found.advice is None) is (grade is Grade.OK)


def test_a_service_that_tells_no_time() -> None:
    """Then nobody knows."""
    found = judge_skew(None)
    assert (found.grade, "another clock" in (found.advice or "")) == (Grade.WARN, True)


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (AuthenticationError(status=401, request=REQUEST), "CLOSE_API_KEY is refused: ", "make a new key"),
        (
            PermissionDeniedError(status=403, request=REQUEST),
            "CLOSE_API_KEY may not read whose it is: ",
            "ask an admin",
        ),
        (TransportError("no route", request=REQUEST, sent=False), "CLOSE_API_KEY could not be tried: ", "network"),
        (RateLimitedError(status=429, request=REQUEST), "CLOSE_API_KEY could not be tried: ", "in a minute"),
        (PlanLimitError(status=402, request=REQUEST), "CLOSE_API_KEY could not be tried: ", "which plan"),
        (ServerError(status=503, request=REQUEST), "CLOSE_API_KEY could not be tried: ", "try again later"),
        (NotFoundError(status=404, request=REQUEST), "CLOSE_API_KEY could not be tried: ", "is the base URL right?"),
        (APIError(status=418, request=REQUEST), "CLOSE_API_KEY could not be tried: ", "ask Close's support"),
    ],
)
def test_keys(error: CloseBulkError, said: str, advice: str) -> None:
    """What became of the first request is told apart, as what is to be done about it differs."""
    found = judge_refusal("CLOSE_API_KEY", error, login=LOGIN)
    assert (found.grade, found.what) == (Grade.FAIL, "key")
    assert found.finding.startswith(said)
    assert advice in (found.advice or "")


def test_a_new_key_goes_where_the_old_one_was() -> None:
    """Into the environment, or into the profile."""
    error = AuthenticationError(status=401, request=REQUEST)
    advice = "make a new key in Close (Settings, Developer), and "
    assert judge_refusal("CLOSE_API_KEY", error, login=LOGIN).advice == f"{advice}set CLOSE_API_KEY to it"
    assert judge_refusal("the key of the profile 'work'", error, login=LOGIN).advice == f"{advice}keep it: {LOGIN}"


def test_what_is_not_well_says_what_to_do() -> None:
    """Wherever a command warns or fails, what should be done is part of the call."""
    without, calls = [], 0
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"warn", "fail"}:
                calls += 1
                if len(node.args) < 3 or (isinstance(node.args[2], ast.Constant) and not node.args[2].value):
                    without.append(f"{file.name}:{node.lineno}")
    assert without == []
    assert calls > 10


def test_lists() -> None:
    """A list that may not be read is a matter of permissions, another one is not."""
    assert judge_list(Kind.EDIT, None) == Finding(Grade.OK, "list of edit", "can be read")
    forbidden = judge_list(Kind.EDIT, PermissionDeniedError(status=403, request="GET /bulk_action/edit/"))
    assert (forbidden.grade, "role" in (forbidden.advice or "")) == (Grade.FAIL, True)
    assert judge_list(Kind.EDIT, ServerError(status=500, request="GET")).finding.startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("limits", "grade", "said"),
    [
        ({}, Grade.WARN, "no answer says any"),
        (make_limits((160, None)), Grade.WARN, "no answer says any"),
        (make_limits((160, 159)), Grade.OK, "the least that is left are 159 of 160 requests, of GET /export/"),
        (make_limits((160, 100), (480, 48)), Grade.WARN, "the least that is left are 48 of 480 requests"),
        (make_limits((0, 0)), Grade.WARN, "the least that is left are 0 of 0"),
        (make_limits((160, 159), n_throttled=2), Grade.WARN, "Close turned away 2 requests just now (429)"),
    ],
)
def test_limits(limits: dict[str, GroupLimits], grade: Grade, said: str) -> None:
    """The limit that is closest to being hit is named; one of which little is left is a warning, as a 429 is."""
    found = judge_limits(limits)
    assert found.grade is grade
    assert found.finding.startswith(said)


@pytest.mark.parametrize(
    ("webhooks", "found"),
    [
        ([], [(Grade.OK, "none of 0 subscriptions tells of jobs, so that waits go by polls alone")]),
        ([Webhook.example(events=LEADS)], [(Grade.OK, "none of 1 subscriptions tells of jobs, so that waits go by")]),
        ([Webhook.example(), Webhook.example(events=LEADS)], [(Grade.OK, "1 of 2 subscriptions tell of jobs")]),
        ([Webhook.example(events=EXPORTS)], [(Grade.OK, "1 of 1 subscriptions tell of jobs")]),
        (
            [Webhook.example(id="whsub_1", status="paused")],
            [(Grade.WARN, "whsub_1, to https://example.com, is paused: nothing is sent there")],
        ),
        (
            [Webhook.example(), Webhook.example()],
            [
                (Grade.WARN, "2 active subscriptions tell one address of https://example.com of jobs, so that events"),
                (Grade.OK, "2 of 2 subscriptions tell of jobs"),
            ],
        ),
        (
            [Webhook.example(), *[Webhook.example(events=LEADS)] * 39],
            [
                (Grade.WARN, "there are 40 subscriptions, and an organization may have 40"),
                (Grade.OK, "1 of 40 subscriptions tell of jobs"),
            ],
        ),
    ],
)
def test_webhooks(webhooks: list[Webhook], found: list[tuple[Grade, str]]) -> None:
    """Only those that tell of jobs matter, but for how many an organization may have."""
    findings = list(judge_webhooks(webhooks))
    assert [finding.grade for finding in findings] == [grade for grade, _ in found]
    for finding, (_, said) in zip(findings, found, strict=True):
        assert finding.finding.startswith(said)
        assert finding.advice is not None or finding.grade is Grade.OK


def test_tokens_in_addresses_are_not_shown() -> None:
    """Of the address of a receiver the host is shown: the rest may be what keeps others from it."""
    (paused,) = judge_webhooks(
        [Webhook.example(url="https://me:secret@example.com:8443/hooks/secret?token=secret#secret", status="paused")]
    )
    assert "https://example.com:8443," in paused.finding
    assert "secret" not in str(paused)


def test_base_urls() -> None:
    """Another one than Close's own is worth a word, and how to be rid of it depends on where it comes from."""
    assert judge_base_url("https://api.close.com/api/v1", origin="CLOSE_API_KEY").grade is Grade.OK
    local = "http://127.0.0.1:8000/api/v1"
    set_by_hand = judge_base_url(local, origin="CLOSE_API_KEY")
    assert (set_by_hand.grade, set_by_hand.advice) == (Grade.WARN, "unset CLOSE_BASE_URL, unless that is meant")
    kept = judge_base_url(local, origin="the key of the profile 'work'")
    assert kept.grade is Grade.WARN
    assert (kept.advice or "").startswith("it comes with the key of the profile 'work': log in again")


def test_a_finding_is_one_line() -> None:
    """What a server says cannot break it, nor reach the terminal; JSON has its parts."""
    finding = Finding(Grade.OK, "key", "a\n\x1b[31mb", "do c")
    assert str(finding) == "ok    key: a ?[31mb: do c"
    assert to_dict(finding, redact=lambda text: text.replace("c", "*")) == {
        "grade": "ok",
        "what": "key",
        "finding": "a\n\x1b[31mb",
        "advice": "do *",
    }
