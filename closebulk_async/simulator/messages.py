"""Requests and answers as values, before and after any socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

Headers = tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class Request:
    """One request that the simulator received.

    `path` is the whole path, `headers` have lower-case names, `at` is the simulator's time of arrival. `status` is that
    of the answer: None while there is none, for ever when the connection was cut or the client left before.
    `fault` is the name of the scripted fault that it met, if any.
    """

    method: str
    path: str
    query: Mapping[str, str]
    # Both may hold what does not belong into the output of a failing test.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: datetime
    status: int | None = None
    fault: str | None = None

    def json(self) -> object:
        """The body as JSON; raises `ValueError` when it is none."""
        return json.loads(self.body)


@frozen
class Answer:
    """One answer: a status, header pairs in the order they are sent, and the body without any compression."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    def with_headers(self, headers: Headers) -> Answer:
        """The same answer with more headers."""
        return Answer(self.status, self.body, (*self.headers, *headers))


def json_answer(payload: object, *, status: int = 200, headers: Headers = ()) -> Answer:
    """An answer that carries JSON."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    return Answer(status, body, (("content-type", "application/json"), *headers))
