"""Waiting with openai: `vector_stores.files.poll`, with its defaults and without a hint from the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx2
from openai import AsyncOpenAI

from benchmarks.polled import PaperStage, Word

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from benchmarks.polled import Wait

_SPELLED: Final = {Word.RUNNING: "in_progress", Word.ENDED: "completed", Word.NEW: "reindexing"}


async def hand_over(stage: PaperStage) -> Wait:
    """Give what polls a file that is being processed; each awaiter calls it for itself, there is nothing to share."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method != "GET":
            stage.writes += 1
        word = stage.read()
        if word is None:
            return httpx2.Response(503)
        shown = {"id": "file_1", "object": "vector_store.file", "created_at": 0, "status": _SPELLED[word]}
        return httpx2.Response(200, json={**shown, "usage_bytes": 0, "vector_store_id": "vs_1"})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = AsyncOpenAI(api_key="sk-bench", http_client=http)

    def wait() -> Coroutine[object, object, object]:
        return client.vector_stores.files.poll("file_1", vector_store_id="vs_1")

    return wait


def make_stage() -> PaperStage:
    """A stage on which openai waits."""
    return PaperStage(hand_over)
