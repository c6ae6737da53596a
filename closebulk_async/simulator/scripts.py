"""Which request meets which fault."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define

F = TypeVar("F")


@define(kw_only=True)
class Scripted(Generic[F]):
    """A fault that waits for its requests; `times` is None for all that match, `skip` lets so many pass first."""

    fault: F
    times: int | None
    method: str | None
    path: str | None
    skip: int

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is one that this fault is meant for."""
        return self.method in (None, method) and (self.path is None or self.path in path)


class FaultScript(Generic[F]):
    """The faults to come, in the order in which they were scripted."""

    def __init__(self) -> None:
        self._scripted: list[Scripted[F]] = []

    def add(self, scripted: Scripted[F]) -> None:
        """Append a fault."""
        self._scripted.append(scripted)

    def clear(self) -> None:
        """Forget all faults that have not happened."""
        self._scripted.clear()

    def take(self, method: str, path: str) -> F | None:
        """The fault that this request meets: the first that matches and lets it pass no more."""
        for scripted in self._scripted:
            if not scripted.matches(method, path):
                continue
            if scripted.skip:
                scripted.skip -= 1
                continue
            if scripted.times is not None:
                scripted.times -= 1
                if not scripted.times:
                    self._scripted.remove(scripted)
            return scripted.fault
        return None
