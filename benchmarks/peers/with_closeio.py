"""The vendor's synchronous client (on requests), as its README shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closeio_api import API

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.corpus import Operation


def connect(base_url: str, operation: Operation) -> Callable[[], object]:
    """Give the call that sends the operation once and returns the answer as dicts.

    `API` is what the vendor's `Client` is made of; unlike it, it takes the URL of another server.
    """
    client = API(f"{base_url}/", "api_bench")
    endpoint = operation.path.removesuffix("/")  # the client adds the slash again
    return lambda: client.get(endpoint, params=operation.params)
