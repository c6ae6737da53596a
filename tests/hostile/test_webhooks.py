"""Webhooks that hypothesis makes up, signed or not: each is an event, or refused, and the receiver goes on."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import attrs
import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import InvalidWebhookError, verify_webhook, webhooks
from closebulk_async.testing import FakeClock
from tests.dashboard.houses import serving
from tests.hostile.trying import some
from tests.letters import EVENT, KEY, SIGNED_AT, sign
from tests.strategies import json_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.webhook_models import WebhookEvent

NOW = datetime.fromtimestamp(SIGNED_AT, UTC)
NESTED = b'{"event":{"id":"a","action":"b","object_type":"c","object_id":"d","data":'

odd_events = st.dictionaries(st.sampled_from(sorted(EVENT)) | st.text(max_size=5), json_values)
bodies = (
    st.binary(max_size=80)
    | json_values.map(orjson.dumps)
    | odd_events.map(lambda event: orjson.dumps({"event": event, "subscription_id": "whsub_1"}))
    | odd_events.map(lambda event: orjson.dumps({"event": {**EVENT, **event}}))
    | st.integers(1, 1100).map(lambda n: NESTED + b'{"a":' * n + b"1" + b"}" * (n + 2))
)
letter_headers = st.dictionaries(
    st.sampled_from(["close-sig-hash", "close-sig-timestamp", "CLOSE-SIG-HASH", "content-encoding", "content-type"]),
    st.from_regex(r"[0-9a-f]{0,66}", fullmatch=True)
    | st.sampled_from(["gzip", "deflate", "br", "identity", "text/plain; charset=x"]),
)


@attrs.define
class Ear:
    """Counts what it is told."""

    heard: int = 0

    def notify(self, event: WebhookEvent) -> None:
        """Take one event, and use it."""
        assert repr(event)
        self.heard += 1


@some(200)
@given(body=bodies, headers=letter_headers)
def test_a_stranger_is_refused(body: bytes, headers: Mapping[str, str]) -> None:
    """Whatever the body and the headers hold."""
    with pytest.raises(InvalidWebhookError) as caught:
        verify_webhook(body, headers, signature_key=KEY, tolerance=5, now=NOW)
    assert not caught.value.is_signed


@some(200)
@given(body=bodies)
def test_what_is_signed_is_an_event_or_said_to_be_signed(body: bytes) -> None:
    """An event can be used, also where its other fields hold what does not belong there."""
    try:
        event = verify_webhook(body, sign(body), signature_key=KEY, tolerance=5, now=NOW)
    except InvalidWebhookError as exc:
        refusal: InvalidWebhookError | None = exc
    else:
        refusal = None
        assert repr(event)
        assert event.ref is None or str(event.ref)
        assert event.is_rest in {True, False}
        assert isinstance(hash(event), int)
    assert refusal is None or refusal.is_signed


async def test_a_letter_that_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Is one that was refused, and no mistake by the log, of which strangers could make any number."""
    caplog.set_level(logging.INFO)
    app = web.Application()
    webhooks.setup(app, Ear(), signature_key=KEY, clock=FakeClock(NOW))
    async with serving(app) as (url, _):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"POST /close/webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with aiohttp.ClientSession() as session, session.post(f"{url}/close/webhook", data=b"") as answer:
            assert answer.status == 401  # by now all of them have come
    assert "not whole" in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@some(10)
@given(letters=st.lists(st.tuples(bodies, st.none() | letter_headers), max_size=5))
def test_the_receiver_answers_whatever_is_posted(letters: list[tuple[bytes, Mapping[str, str] | None]]) -> None:
    """With a status that says so; and a letter that is genuine is taken after all of them."""

    async def post_all() -> None:
        app, ear = web.Application(), Ear()
        webhooks.setup(app, ear, signature_key=KEY, clock=FakeClock(NOW))
        # A connection for each: aiohttp closes one whose body it could not inflate.
        connector = aiohttp.TCPConnector(force_close=True)
        async with serving(app) as (url, _), aiohttp.ClientSession(connector=connector) as session:
            for body, headers in letters:
                sent = sign(body) if headers is None else dict(headers)
                async with session.post(f"{url}/close/webhook", data=body, headers=sent) as answer:
                    assert answer.status in {200, 400, 401}
            before, genuine = ear.heard, orjson.dumps({"event": EVENT})
            async with session.post(f"{url}/close/webhook", data=genuine, headers=sign(genuine)) as answer:
                assert (answer.status, ear.heard) == (200, before + 1)

    asyncio.run(post_all())
