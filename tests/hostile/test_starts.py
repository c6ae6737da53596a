"""POSTs that meet harm: never a second one, and an end that says what is known."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, APIError, CloseBulkError, RetryPolicy, WatchLostError
from closebulk_async.wire import is_rejection
from tests.hostile.answers import CUTS, DRIPS, GOOD, HEADS, LENGTHS, PACKED, STATUSES, whole
from tests.hostile.bodies import IDS, RAW, dump
from tests.hostile.calls import FEW, HURRIED, SECRETS, STARTS, all_calls, connect
from tests.hostile.judging import judge, try_all
from tests.hostile.servers import Asked, hostile, response

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock
    from tests.hostile.servers import Script

GARBLED = {
    **{f"JSON: {name}": whole(response(body)) for name, body in RAW.items()},
    **{f"the id is {name}": whole(response(dump({"id": id_, "status": "done"}))) for name, id_ in IDS.items()},
}
AFTER_A_POST = {**HEADS, **LENGTHS, **PACKED, **STATUSES, **DRIPS, **CUTS, **GARBLED}
SENT_AGAIN = {"429, with an action", "429, empty"}
"""What proves that nothing was processed, and is worth another try."""


REDIRECTED = FEW | {"stream", "revoke a token", "export leads", "start delete"}


def reads(asked: Asked) -> bool:
    """What is asked before and after the POST is answered well."""
    return asked.method != "POST"


@pytest.mark.parametrize(("name", "script"), [pytest.param(*item, id=item[0]) for item in AFTER_A_POST.items()])
async def test_a_post_is_sent_once_whatever_comes_back(clock: FakeClock, name: str, script: Script) -> None:
    """Its action is returned, or it is in doubt, or refused by a status that proves that nothing ran."""
    async with (
        hostile(clock, script, spares=reads) as server,
        connect(server, clock, retry=RetryPolicy(attempts=3)) as close,
    ):
        error = await judge(STARTS["start email"], close)
        n_posts = server.count("POST")
    assert n_posts == (3 if name in SENT_AGAIN else 1)
    is_refused = isinstance(error, APIError) and is_rejection(error.status or 0)
    assert error is None or isinstance(error, AmbiguousStartError) or is_refused


@pytest.mark.parametrize(
    "name", ["nothing", "rubbish", "500, empty", "404, empty", "429, empty", "silence", "HTTP/0.9"]
)
async def test_a_wait_ends_when_no_poll_is_any_good(clock: FakeClock, name: str) -> None:
    """After the time that its policy names, with what the last poll met as the cause."""
    script = AFTER_A_POST[name]
    async with hostile(clock, script) as server, connect(server, clock) as close:
        error = await judge(lambda close: close.wait_until_done("email:bulkemail_1"), close)
    assert type(error).__name__ == ("NotFoundError" if name.startswith("404") else "WatchLostError")
    assert isinstance(error, WatchLostError | APIError)
    assert isinstance(error.__cause__, CloseBulkError | None)
    assert clock.monotonic() <= HURRIED.lost_after + 70


@pytest.mark.parametrize("status", ["302", "307"])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/bulk_action/email/",
        "//127.0.0.1:{port}/x",
        "http://localhost:{port}/x",
        "http://[::1]:{port}/x",
        "http://user:word@127.0.0.1:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}\\@127.0.0.1/",
        "http:\\\\127.0.0.1:{port}/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
    ],
)
async def test_no_secret_comes_to_another_host(clock: FakeClock, location: str, status: str) -> None:
    """Of all calls, only those of files follow there, and they send nothing that was the caller's."""
    async with hostile(clock, whole(response(GOOD))) as other:
        target = location.format(port=other.base_url.rpartition(":")[2])
        redirect = whole(response(b"", status=f"{status} X", headers=[f"Location: {target}"]))
        verdict = await try_all(redirect, only=REDIRECTED.__contains__)
        heard = bytes(other.heard)
    assert {asked.method for asked in other.asked} <= {"GET"}
    assert verdict.errors["get email"] is not None
    for secret in SECRETS:
        assert secret.encode() not in heard
        assert base64.b64encode(f"{secret}:".encode()).rstrip(b"=") not in heard
    for word in (b"authorization", b"cookie", b"basic", b"bearer", b"client_secret", b"user:word"):
        assert word not in heard.lower()


async def test_the_secrets_were_sent_to_the_service(clock: FakeClock) -> None:
    """Lest the test above passes because nothing was sent at all; a file's own host gets none of them either."""
    async with hostile(clock, whole(response(GOOD))) as service, hostile(clock, whole(response(b"file"))) as store:
        for name, call in all_calls(store, clock).items():
            async with connect(store if name in {"download", "stream"} else service, clock) as close:
                await judge(call, close)
        assert base64.b64encode(f"{SECRETS[0]}:".encode()).rstrip(b"=") in bytes(service.heard)
        assert all(secret.encode() in bytes(service.heard) for secret in SECRETS[1:])
        assert b"authorization" not in bytes(store.heard).lower()
        assert len(store.asked) == 2
