"""Links to the files of exports: signed, good for a while, and of another origin than the API."""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_FOLDER = "/exports/"


class Links:
    """Makes links and judges them; `origin` is where the store of the files is, without a slash at the end."""

    def __init__(self, *, secret: bytes) -> None:
        self.origin = ""
        self._secret = secret
        self._made = 0

    def make(self, name: str, *, now: datetime, lifetime: float) -> str:
        """A new link to the file of that name, with a signature that no other link has.

        It expires with the first whole second after its lifetime.
        """
        self._made += 1
        query = {"Expires": str(math.ceil(now.timestamp() + lifetime)), "Serial": str(self._made)}
        path = f"{_FOLDER}{name}"
        return f"{self.origin}{path}?{urlencode({**query, 'Signature': self._sign(path, query)})}"

    def is_signed(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether it was made here, for that path and with these parameters."""
        return hmac.compare_digest(self._sign(path, query), query.get("Signature", ""))

    def has_expired(self, query: Mapping[str, str], now: datetime) -> bool:
        """Whether the time of a signed link is over."""
        return now.timestamp() >= int(query["Expires"])

    def _sign(self, path: str, query: Mapping[str, str]) -> str:
        text = f"{path}\n{query.get('Expires')}\n{query.get('Serial')}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def named_file(path: str) -> str:
    """The name of the file that a path leads to; empty when it is none of a file."""
    return path.removeprefix(_FOLDER) if path.startswith(_FOLDER) else ""
