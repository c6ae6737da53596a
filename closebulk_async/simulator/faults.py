"""Scripted faults: what a server, a proxy or a network does wrong, as data.

Each function makes one `Fault`, a value that says what becomes of a request, step by step: wait, let the API act (or
not), wait, replace or spoil the answer, send it (or cut the connection). `acts` is what matters most to a client:
whether the request was carried out although its answer does not look like it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attrs import evolve, field, frozen

from .limits import Spelling, spell_limit
from .messages import Answer, Headers, json_answer
from .plans import Duration, to_seconds

_GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_REASONS = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}


@frozen(kw_only=True)
class Fault:
    """What becomes of one request; the functions of this module name the useful combinations.

    `wait_before` and `wait_after` are seconds before and after the API acts, `math.inf` for an answer that never comes.
    `answer` stands in for the API's own. `changes` and `without` alter the top level of a JSON answer, `kept` is the
    share of the body that is sent (with its right length when `announces_whole` is false), `padding` so many spaces in
    front of it. The body leaves in `pieces`, `seconds_between` apart. `cuts` closes the connection instead of
    answering.
    """

    name: str
    acts: bool = True
    wait_before: float = 0.0
    wait_after: float = 0.0
    answer: Answer | None = None
    changes: Mapping[str, object] = MappingProxyType({})
    without: frozenset[str] = frozenset()
    kept: float = 1.0
    announces_whole: bool = False
    padding: int = 0
    pieces: int = field(default=1)
    seconds_between: float = 0.0
    cuts: bool = False

    @pieces.validator
    def _check_pieces(self, _attribute: object, value: int) -> None:
        if value < 1:
            raise ValueError(f"a body is sent in at least one piece, got {value}")

    def spoil(self, answer: Answer) -> Answer:
        """The answer with its JSON altered and its body padded, and cut short unless the whole of it is announced."""
        body = answer.body
        if body and (self.changes or self.without):
            payload = {**json.loads(body), **self.changes}
            body = json.dumps({key: value for key, value in payload.items() if key not in self.without}).encode()
        body = b" " * self.padding + body
        if not self.announces_whole:
            body = body[: math.floor(len(body) * self.kept)]
        return evolve(answer, body=body)


NO_FAULT = Fault(name="none")
"""What becomes of a request that meets no fault."""


def cut_before() -> Fault:
    """The connection is closed before the server acted; the client cannot tell it from `cut_after`."""
    return Fault(name="cut_before", acts=False, cuts=True)


def cut_after() -> Fault:
    """The server acts, then the connection is closed without an answer: the double-send trap."""
    return Fault(name="cut_after", cuts=True)


def hang(*, acts: bool = False) -> Fault:
    """The answer never comes; `acts` says whether the server did what was asked."""
    if acts:
        return Fault(name="hang", wait_after=math.inf)
    return Fault(name="hang", acts=False, wait_before=math.inf)


def delay(duration: Duration, *, acts_first: bool = False) -> Fault:
    """The right answer, late; the server acts before or after the wait."""
    if acts_first:
        return Fault(name="delay", wait_after=to_seconds(duration))
    return Fault(name="delay", wait_before=to_seconds(duration))


def slow_body(duration: Duration, *, pieces: int = 4) -> Fault:
    """Status and headers at once, then the body in so many pieces spread over the duration."""
    return Fault(name="slow_body", pieces=pieces, seconds_between=to_seconds(duration) / pieces)


def truncated_body(*, kept: float = 0.5) -> Fault:
    """The headers announce the whole body, the connection is closed after a share of it."""
    return Fault(name="truncated_body", kept=kept, announces_whole=True)


def broken_json(*, kept: float = 0.5) -> Fault:
    """A complete answer whose JSON stops in the middle."""
    return Fault(name="broken_json", kept=kept)


def huge_body(n_bytes: int) -> Fault:
    """The right answer behind so many bytes of white space; compressed, it is small on the wire and large in memory."""
    return Fault(name="huge_body", padding=n_bytes)


def altered(*, without: Sequence[str] = (), **changes: object) -> Fault:
    """The right answer with other values, or without some keys, at its top level: `altered(without=["id"])`."""
    return Fault(name="altered", changes=changes, without=frozenset(without))


def reply(
    status: int,
    body: bytes | str = b"",
    *,
    content_type: str | None = None,
    headers: Headers = (),
    acts: bool = False,
) -> Fault:
    """Any answer in place of the API's own."""
    typed = (("content-type", content_type), *headers) if content_type else headers
    raw = body.encode() if isinstance(body, str) else body
    return Fault(name=f"reply {status}", acts=acts, answer=Answer(status, raw, typed))


def server_error(status: int = 502, *, acts: bool = False) -> Fault:
    """A 5xx with the HTML page of a proxy; with `acts` the work was done behind it."""
    page = _GATEWAY_PAGE.format(status=status, reason=_REASONS.get(status, "Error"))
    return reply(status, page, content_type="text/html", acts=acts)


def no_content(*, acts: bool = True) -> Fault:
    """A 204 with an empty body."""
    return reply(204, acts=acts)


def forbidden() -> Fault:
    """A 403 in plain text."""
    return reply(403, "Forbidden", content_type="text/plain; charset=utf-8")


def redirect(location: str, *, status: int = 302, acts: bool = False) -> Fault:
    """A redirect to any place."""
    return reply(status, headers=(("location", location),), acts=acts)


def invalid_fields(fields: Mapping[str, object], *, errors: Sequence[str] = ()) -> Fault:
    """A 400 of the validator. A value is a text, or nested: `{"errors": {"0": {"field-errors": {...}}}}`."""
    payload = {"errors": list(errors), "field-errors": dict(fields)}
    return Fault(name="invalid_fields", acts=False, answer=json_answer(payload, status=400))


def too_many_requests(
    *,
    retry_after: str | float | None = None,
    limit: tuple[int, int, float] | None = None,
    spelling: Spelling = "semicolons",
    headers: Headers = (),
    payload: object = None,
) -> Fault:
    """A 429, by default with no hint and no body at all.

    `retry_after` is in seconds, or the text of an HTTP date; `limit` is limit, remaining and reset for the `RateLimit`
    header. A stricter limit than the shown one: `too_many_requests(retry_after=5, limit=(160, 159, 8.0))`.
    """
    hints: Headers = () if retry_after is None else (("retry-after", str(retry_after)),)
    if limit is not None:
        shown = spell_limit(limit=limit[0], remaining=limit[1], reset=limit[2], spelling=spelling)
        hints = (*hints, ("ratelimit", shown))
    hints = (*hints, *headers)
    answer = Answer(429, headers=hints) if payload is None else json_answer(payload, status=429, headers=hints)
    return Fault(name="too_many_requests", acts=False, answer=answer)
