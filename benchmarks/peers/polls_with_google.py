"""Waiting with google-api-core: the future of a long-running operation, with its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.api_core import exceptions
from google.api_core.operation_async import AsyncOperation
from google.longrunning.operations_pb2 import Operation  # type: ignore[import-untyped]  # its types are a package of their own  # none of the messages is
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]  # its types are a package of their own
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # its types are a package of their own

from benchmarks.polled import PaperStage, Word

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from google.api_core.retry_async import AsyncRetry

    from benchmarks.polled import Wait

_NAME: Final = "operations/1"


def _pack(message: Empty) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


# Whether it is done is a flag; a status word has its place in the metadata, as a message of the service's own.
_SPELLED: Final = {
    Word.RUNNING: Operation(name=_NAME),
    Word.ENDED: Operation(name=_NAME, done=True, response=_pack(Empty())),
    Word.NEW: Operation(name=_NAME, metadata=AnyMessage(type_url="example/Reindexing", value=b"new")),
}


async def hand_over(stage: PaperStage) -> Wait:
    """Start an operation; all awaiters await the one future of it."""

    async def read() -> Operation:
        word = stage.read()
        if word is None:
            raise exceptions.ServiceUnavailable("503")  # type: ignore[no-untyped-call]  # google-api-core has no types
        return _SPELLED[word]

    async def refresh(retry: AsyncRetry) -> Operation:
        return await retry(read)()  # what a wrapped method of a generated client does with the `retry` it is given

    async def cancel() -> None:
        stage.writes += 1

    started = Operation(name=_NAME)
    operation = AsyncOperation(started, refresh, cancel, Empty)  # type: ignore[no-untyped-call]  # google-api-core has no types

    def wait() -> Coroutine[object, object, object]:
        waiting: Coroutine[object, object, object] = operation.result()  # type: ignore[no-untyped-call]  # google-api-core has no types
        return waiting

    return wait


def make_stage() -> PaperStage:
    """A stage on which google-api-core waits."""
    return PaperStage(hand_over)
