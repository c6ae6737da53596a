"""Scripted faults of downloads: what a store of files, a proxy or a network does wrong with a large file, as data.

Faults of `simulator.faults` that delay an answer, replace it or cut the connection serve for downloads as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import field, frozen

from .messages import Answer
from .plans import Duration, to_seconds

if TYPE_CHECKING:
    from .faults import Fault


@frozen(kw_only=True)
class DownloadFault:
    """What becomes of one download; the functions of this module name the useful combinations.

    It waits for `wait` seconds (`math.inf`: for ever). With `cuts` there is no answer, and `answer` stands in for that
    of the store. After `stops_after` bytes of this answer nothing more is sent: the connection is cut, or with `hangs`
    stays open. `lengthens` is by how much the announced length is off; of a shorter one the rest is not sent. The byte
    at `corrupts` of the file is another. A part of the file begins `shifts` bytes after the place that was asked for,
    and with `ignores_range` the whole is sent. The body leaves in `pieces`, `seconds_between` apart.
    """

    name: str
    wait: float = 0.0
    cuts: bool = False
    answer: Answer | None = None
    stops_after: int | None = None
    hangs: bool = False
    lengthens: int = 0
    corrupts: int | None = None
    shifts: int = 0
    pieces: int = field(default=1)
    seconds_between: float = 0.0
    ignores_range: bool = False

    @pieces.validator
    def _check_pieces(self, _attribute: object, value: int) -> None:
        if value < 1:
            raise ValueError(f"a body is sent in at least one piece, got {value}")


def cut(*, after: int) -> DownloadFault:
    """The connection is closed after so many bytes of the answer; as many were announced as there are."""
    return DownloadFault(name="cut", stops_after=after)


def stall(*, after: int) -> DownloadFault:
    """So many bytes come, then nothing more, and the connection stays open."""
    return DownloadFault(name="stall", stops_after=after, hangs=True)


def wrong_length(by: int) -> DownloadFault:
    """The announced length is off by so many bytes.

    With one that is too large the connection is closed after the whole file. With one that is too small the file ends
    there, and only what is in it shows that it is not whole.
    """
    return DownloadFault(name="wrong_length", lengthens=by)


def corrupt(at: int) -> DownloadFault:
    """One byte of the file, counted as it is stored and from 0, is another."""
    return DownloadFault(name="corrupt", corrupts=at)


def slow(duration: Duration, *, pieces: int = 4) -> DownloadFault:
    """Status and headers at once, then the file in so many pieces spread over the duration."""
    return DownloadFault(name="slow", pieces=pieces, seconds_between=to_seconds(duration) / pieces)


def ignored_range() -> DownloadFault:
    """The whole file, whatever part was asked for: a 200, as a server may."""
    return DownloadFault(name="ignored_range", ignores_range=True)


def misplaced_range(by: int) -> DownloadFault:
    """A part that begins so many bytes after the one that was asked for, and says so in its `Content-Range`."""
    return DownloadFault(name="misplaced_range", shifts=by)


def as_download_fault(fault: DownloadFault | Fault) -> DownloadFault:
    """A fault of any request as one of a download; raises `ValueError` when it spoils a body as only JSON can be."""
    if isinstance(fault, DownloadFault):
        return fault
    if fault.answer is None and (fault.changes or fault.without or fault.padding or not math.isclose(fault.kept, 1)):
        raise ValueError(f"a download cannot meet the fault {fault.name!r}; those of download_faults are for it")
    return DownloadFault(
        name=fault.name,
        wait=fault.wait_before + fault.wait_after,
        answer=fault.answer,
        cuts=fault.cuts,
        pieces=fault.pieces,
        seconds_between=fault.seconds_between,
    )
