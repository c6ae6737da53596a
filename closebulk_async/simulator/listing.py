"""Offset pagination and `_fields`, with the texts of the service's REST framework."""

from __future__ import annotations

import re
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from .refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from .jobs import Job
    from .kinds import JsonObject, Kind

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


def place(job: Job, order: ListOrder) -> str | int:
    """Where the job stands in an order that is not one of time; such an order does not change between two requests."""
    # A checksum has nothing to do with time, nor with how ids are sorted.
    return job.id if order == "id" else zlib.crc32(job.id.encode())


def read_filters(query: Mapping[str, str], kind: Kind) -> Mapping[str, str]:
    """The filters of a query; those that the kind does not know are ignored."""
    return {name: query[name] for name in kind.filters if query.get(name)}


def matching(jobs: Iterable[Job], filters: Mapping[str, str], now: datetime) -> Iterator[Job]:
    """Those jobs that are shown and pass the filters."""
    for job in jobs:
        if job.is_shown(now) and all(job.echo(name) == value for name, value in filters.items()):
            yield job


def cut_page(jobs: Iterable[Job], window: Window, *, at_most: int | None = None) -> tuple[list[Job], bool]:
    """The jobs of one page, and whether there are more; `at_most` makes pages shorter than was asked for."""
    length = window.limit if at_most is None else min(window.limit, at_most)
    rows = list(islice(jobs, window.skip, window.skip + length + 1))
    return rows[:length], len(rows) > length


def read_fields(query: Mapping[str, str]) -> frozenset[str] | None:
    """The names that `_fields` gives, unknown ones among them; None for every field, which `_all` means as well."""
    names = frozenset(name.strip() for name in query.get("_fields", "").split(",") if name.strip())
    return None if not names or "_all" in names else names


def narrowed(row: JsonObject, query: Mapping[str, str]) -> JsonObject:
    """The row with only the fields that `_fields` names."""
    names = read_fields(query)
    return row if names is None else {name: value for name, value in row.items() if name in names}
