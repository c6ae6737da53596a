"""Who has shown the token: sessions of browsers, which have no way to send it with each request."""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from closebulk_async.clock import Clock

LIFE = 12 * 3600.0
"""Seconds of a session: a working day."""

MOST_SESSIONS = 64
"""Beyond, the oldest one ends."""

LEAST_CHARACTERS = 16
"""Of a token: what is shorter is guessed."""

FAILURE_SECONDS = 1.0
"""How long a wrong token is thought about."""

MOST_ATTEMPTS = 4
"""Wrong tokens of the form that are thought about at the same time; more are refused at once. A token's length, and not
this, keeps it from being guessed."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


def check_token(token: str | None) -> bytes | None:
    """A token as it is compared. Raises InvalidRequestError, which does not tell it."""
    if token is None:
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidRequestError("token must be letters, digits and signs of ASCII, without a space")
    if len(token) < LEAST_CHARACTERS:
        raise InvalidRequestError(f"token must have at least {LEAST_CHARACTERS} characters: a shorter one is guessed")
    return token.encode()


class Sessions:
    """The token, and the sessions that were begun with it. Without a token everybody is known."""

    def __init__(self, token: bytes | None, *, clock: Clock) -> None:
        """No session yet."""
        self._token = token
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()
        self._attempts = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody has to show anything."""
        return self._token is None

    def is_token(self, given: str) -> bool:
        """Whether this is the token; it takes as long for each one of its length that is not."""
        return self._token is not None and hmac.compare_digest(given.encode(errors="replace"), self._token)

    def is_session(self, id: str) -> bool:
        """Whether a session of that id goes on."""
        end = self._ends.get(_key(id))
        return end is not None and self._clock.monotonic() < end

    async def begin(self, given: str) -> str | None:
        """Begin a session for whoever gives the token, and return its id; None, later, for another token.

        Raises BlockingIOError where too many give a wrong one at the same time; they keep nobody out who has the right
        one.
        """
        if not self.is_token(given):
            await self._think()
            return None
        id_ = secrets.token_urlsafe(32)
        self._ends[_key(id_)] = self._clock.monotonic() + LIFE
        while len(self._ends) > MOST_SESSIONS:
            self._ends.popitem(last=False)
        return id_

    async def _think(self) -> None:
        if self._attempts >= MOST_ATTEMPTS:
            raise BlockingIOError
        self._attempts += 1
        try:
            await self._clock.sleep(FAILURE_SECONDS)
        finally:
            self._attempts -= 1

    def end(self, id: str) -> None:
        """End a session, if there is one of that id."""
        self._ends.pop(_key(id), None)


def _key(id: str) -> bytes:
    """A digest: how long it takes to find it in a dict tells nothing of the id."""
    return sha256(id.encode(errors="replace")).digest()
