"""`closebulk limits`: what Close's answers say of its rate limits."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from closebulk_async.cli.exits import ExitCode, code_of, complain, worst_of
from closebulk_async.cli.options import Json
from closebulk_async.cli.texts import format_seconds, shortened
from closebulk_async.cli.views import has_terminal, print_json

if TYPE_CHECKING:
    from closebulk_async.limits import GroupLimits, ShownLimit

HEAD = ("group", "limit", "left", "resets in", "whose", "429s")


def limits(*, as_json: Json = False) -> int:
    """Show how many requests Close still allows.

    Reads one row of each list, and shows what the answers say: for each group of endpoints how many requests a window
    holds, how many are left, when it ends, and how many of this command's own requests were turned away. Whose limit
    it is, the key's or the whole organization's, Close does not say; it shows once both were seen. With --json an
    object for each group.
    """
    return asyncio.run(_limits(as_json=as_json))


async def _limits(*, as_json: bool) -> int:
    from closebulk_async.cli.clients import connect, read_lists

    async with connect() as close:
        failures = [error for error in (await read_lists(close)).values() if error is not None]
        groups, now = list(close.limits.values()), datetime.now(UTC)
    for error in failures:
        complain(error)
    if not groups:
        complain("the answers say nothing of rate limits")
    if as_json:
        for group in groups:
            print_json(group_to_dict(group, now=now))
    elif groups:
        width = shutil.get_terminal_size().columns if has_terminal() else None
        print("\n".join(lay_out([row for group in groups for row in describe_group(group, now=now)], width=width)))
    return worst_of([ExitCode.DONE, *map(code_of, failures)])


def describe_group(group: GroupLimits, *, now: datetime) -> list[Sequence[str]]:
    """A row for each of its limits, or one that says that none was shown."""
    if not group.shown:
        return [(group.group, "-", "-", "-", "-", str(group.n_throttled))]
    return [
        (
            group.group,
            f"{shown.limit:g}",
            "-" if shown.remaining is None else f"{shown.remaining:g}",
            "-" if (seconds := _seconds_to_reset(shown, now)) is None else format_seconds(seconds),
            shown.scope or "unknown",
            str(group.n_throttled),
        )
        for shown in group.shown
    ]


def lay_out(rows: Iterable[Sequence[str]], *, width: int | None) -> list[str]:
    """A table, or two lines for each row where that would be wider than `width`."""
    table = [HEAD, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        aligned = (
            [
                f"{cell:<{size}}" if column in {0, 4} else f"{cell:>{size}}"
                for column, (cell, size) in _numbered(row, widths)
            ]
            for row in table
        )
        return ["  ".join(cells).rstrip() for cells in aligned]
    lines = []
    for group, limit, left, reset, whose, throttled in table[1:]:
        lines.append(shortened(group, width))
        lines.append(shortened(f"  {left} of {limit} left, resets in {reset}, {whose}, {throttled} x 429", width))
    return lines


def _numbered(row: Sequence[str], widths: Sequence[int]) -> Iterable[tuple[int, tuple[str, int]]]:
    return enumerate(zip(row, widths, strict=True))


def group_to_dict(group: GroupLimits, *, now: datetime) -> dict[str, Any]:
    """The same as JSON: moments in UTC, durations in seconds, null for what was not shown."""
    return {
        "group": group.group,
        "limits": [
            {
                "limit": shown.limit,
                "remaining": shown.remaining,
                "resets_at": None if shown.resets_at is None else shown.resets_at.isoformat(),
                "resets_in": _seconds_to_reset(shown, now),
                "scope": shown.scope,
            }
            for shown in group.shown
        ],
        "n_throttled": group.n_throttled,
        "stopped_until": None if group.stopped_until is None else group.stopped_until.isoformat(),
    }


def _seconds_to_reset(shown: ShownLimit, now: datetime) -> float | None:
    return None if shown.resets_at is None else max(0.0, (shown.resets_at - now).total_seconds())
