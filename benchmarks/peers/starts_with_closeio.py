"""Starts with the vendor's client, as its README shows it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from closeio_api import API

from benchmarks.simulated import API_KEY, TRY_SECONDS, make_body

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.second_jobs import Told


def start_all(
    base_url: str, starts: int, *, at_once: int, calls: int, journal: Path | None, resends: bool
) -> list[Told]:
    """Make all starts, each in a thread and up to `calls` times as long as it raises; say what the callers were told.

    There is no journal that it could be given, and what it sends again is not to be chosen.
    """
    del journal, resends

    def start(number: int) -> Told:
        client = API(f"{base_url}/", API_KEY)  # a session that threads share would drop connections above ten
        error = None
        try:
            for _ in range(calls):
                try:
                    # Without a timeout an answer that never comes would be waited for without end.
                    answer = client.post("bulk_action/email", data=make_body(number), timeout=TRY_SECONDS)
                except Exception as exc:  # noqa: BLE001 - it has no root: requests and the JSON decoder raise as well
                    error = type(exc).__name__
                else:
                    return (answer["id"] if answer else None), None  # a 204 is an empty text
        finally:
            client.session.close()
        return None, error

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(start, range(starts)))
