"""Waiting with azure-core: the poller and the pipeline that its generated clients have, with their defaults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from azure.core import AsyncPipelineClient
from azure.core.pipeline.policies import AsyncRetryPolicy, RequestIdPolicy
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport, HttpRequest
from azure.core.polling import AsyncLROPoller
from azure.core.polling.async_base_polling import AsyncLROBasePolling

from benchmarks.polled import PaperStage, Word

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from benchmarks.polled import Wait

_BASE: Final = "https://service.example"
_SPELLED: Final = {Word.RUNNING: "InProgress", Word.ENDED: "Succeeded", Word.NEW: "Reindexing"}


class _Response(AsyncHttpResponse):
    def __init__(self, request: HttpRequest, status_code: int, body: object, **headers: str) -> None:
        super().__init__(request, None)
        self.status_code, self.headers = status_code, headers
        self._body = json.dumps(body).encode()

    def body(self) -> bytes:
        return self._body


class _Transport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Answers a POST with the address of a status monitor, and a GET as that."""

    def __init__(self, stage: PaperStage) -> None:
        self._stage = stage

    async def send(self, request: HttpRequest, **_: Any) -> AsyncHttpResponse:
        if request.method == "POST":
            return _Response(request, 202, {}, **{"operation-location": f"{_BASE}/monitor"})
        if request.method != "GET":
            self._stage.writes += 1
        word = self._stage.read()
        return _Response(request, 503, {}) if word is None else _Response(request, 200, {"status": _SPELLED[word]})

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


async def hand_over(stage: PaperStage) -> Wait:
    """Start an operation; all awaiters await the one poller of it."""
    client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
        _BASE, transport=_Transport(stage), policies=[RequestIdPolicy(), AsyncRetryPolicy()]
    )
    started = await client._pipeline.run(client.post(f"{_BASE}/start"))  # noqa: SLF001 - generated clients do the same
    poller: AsyncLROPoller[object] = AsyncLROPoller(client, started, lambda _: None, AsyncLROBasePolling())

    def wait() -> Coroutine[object, object, object]:
        return poller.result()

    return wait


def make_stage() -> PaperStage:
    """A stage on which azure-core waits."""
    return PaperStage(hand_over)
