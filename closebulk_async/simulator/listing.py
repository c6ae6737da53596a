"""Offset pagination and `_fields`, with the texts of the service's REST framework."""

from __future__ import annotations

import re
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from .refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .jobs import Job
    from .kinds import JsonObject

ListOrder = Literal["newest", "oldest", "id", "shuffled"]


@frozen
class Window:
    """Which rows a list request asks for."""

    limit: int
    skip: int


def read_window(query: Mapping[str, str], *, max_limit: int, max_skip: int) -> Window:
    """`_limit` and `_skip` of a query; raises `RefusedError` with the service's text when they do not fit."""
    limit = _read_integer(query, "_limit", default=min(100, max_limit))
    skip = _read_integer(query, "_skip", default=0)
    if limit > max_limit:
        raise refused(
            f"The limit you set is larger than the maximum limit for this resource (max_limit = {max_limit}).",
        )
    if skip > max_skip:
        raise refused(
            f"The skip you set is larger than the maximum skip for this resource (max_skip = {max_skip}). "
            "Please refine your search query.",
        )
    return Window(limit, skip)


def _read_integer(query: Mapping[str, str], name: str, *, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise refused(f'{name} must be an integer (got "{text}" instead).')
    if int(text) < 0:
        raise refused(f'{name} must be a non-negative integer (got "{text}" instead).')
    return int(text)


def ordered(jobs: Sequence[Job], order: ListOrder) -> Iterable[Job]:
    """The jobs, which come oldest first, in the order of the list."""
    if order == "newest":
        return reversed(jobs)
    if order == "oldest":
        return jobs
    if order == "id":
        return sorted(jobs, key=lambda job: job.id)
    # Any order that does not change between two requests and has nothing to do with time.
    return sorted(jobs, key=lambda job: zlib.crc32(job.id.encode()))


def matching(jobs: Iterable[Job], query: Mapping[str, str], now: datetime) -> Iterator[Job]:
    """Those jobs that are shown and pass the filters of their kind; a filter that the kind does not know is ignored."""
    for job in jobs:
        wanted = ((name, query[name]) for name in job.kind.filters if query.get(name))
        if job.is_shown(now) and all(job.echo(name) == value for name, value in wanted):
            yield job


def cut_page(jobs: Iterable[Job], window: Window, *, at_most: int | None = None) -> tuple[list[Job], bool]:
    """The jobs of one page, and whether there are more; `at_most` makes pages shorter than was asked for."""
    length = window.limit if at_most is None else min(window.limit, at_most)
    rows = list(islice(jobs, window.skip, window.skip + length + 1))
    return rows[:length], len(rows) > length


def narrowed(row: JsonObject, query: Mapping[str, str]) -> JsonObject:
    """The row with only the fields that `_fields` names; unknown names are ignored and `_all` means every field."""
    names = [name.strip() for name in query.get("_fields", "").split(",") if name.strip()]
    if not names or "_all" in names:
        return row
    return {name: value for name, value in row.items() if name in names}
