"""Waiting with aiosalesforce: a bulk operation of API 2.0, with its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx
from aiosalesforce import Salesforce
from aiosalesforce.auth import Auth

from benchmarks.polled import PaperStage, Word

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from benchmarks.polled import Wait

_BASE: Final = "https://example.my.salesforce.com"
_DATE: Final = "2025-01-01T00:00:00.000+0000"
_SPELLED: Final = {Word.RUNNING: "InProgress", Word.ENDED: "JobComplete", Word.NEW: "Reindexing"}
_RESULTS: Final = ("successfulResults", "failedResults", "unprocessedrecords")


class _Token(Auth):
    async def _acquire_new_access_token(self, client: Salesforce) -> str:  # noqa: ARG002 - the base class has it
        return "token"


async def hand_over(stage: PaperStage) -> Wait:
    """Give what starts the operation and waits: it is one call, so another awaiter would start another operation."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(_RESULTS):
            return httpx.Response(200, text="Id\n")
        if request.method == "GET":
            word = stage.read()
            return httpx.Response(503) if word is None else _show(_SPELLED[word])
        # Creating the job, its data, and the word that these are whole are how an operation starts.
        stage.writes += not (request.method in {"POST", "PUT"} or b"UploadComplete" in request.content)
        return _show("UploadComplete")

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    bulk = Salesforce(http, _BASE, _Token()).bulk_v2

    def wait() -> Coroutine[object, object, object]:
        return bulk.insert("Contact", [{"LastName": "A"}])

    return wait


def _show(state: str) -> httpx.Response:
    return httpx.Response(200, json={"id": "750", "state": state, "createdDate": _DATE, "systemModstamp": _DATE})


def make_stage() -> PaperStage:
    """A stage on which aiosalesforce waits."""
    return PaperStage(hand_over)
