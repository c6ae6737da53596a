"""Requests and their answers as values: what is asked, what came back, and nothing of it in a repr."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import attrs

Row = dict[str, Any]


def basic(key: str) -> str:
    """The value of the header of an API key."""
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"


_AN_ID = re.compile(r"(?<=/)[a-z0-9]+_[A-Za-z0-9-]{16,}(?=/)")


@attrs.frozen(kw_only=True, repr=False)
class Ask:
    """One request; `path` is below the base URL. A failing test shows its method, and its path without ids."""

    path: str
    method: str = "GET"
    query: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def get(cls, path: str, **query: object) -> Ask:
        """A GET with this query."""
        return cls(path=path, query=urlencode(query))

    @classmethod
    def search(cls, **body: object) -> Ask:
        """A search, which is the one POST that changes nothing."""
        headers = {"content-type": "application/json"}
        return cls(method="POST", path="/data/search/", body=json.dumps(body).encode(), headers=headers)

    @property
    def parameters(self) -> dict[str, str]:
        """The query, read."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        return f"{self.method} {_AN_ID.sub('{id}', self.path)}"


@attrs.frozen(kw_only=True)
class Exchange:
    """A request and its answer. `headers` are as they were spelled; the body is without its compression."""

    ask: Ask
    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    at: datetime
    """When the answer had come, by this machine's clock."""

    def header(self, name: str) -> str | None:
        """The value of a header, however its name is spelled; None without it."""
        return next((value for known, value in self.headers if known.lower() == name), None)

    @property
    def json(self) -> object:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def row(self) -> Row:
        """The body's JSON object; an empty one where it is none."""
        return found if isinstance(found := self.json, dict) else {}

    @property
    def rows(self) -> list[Row]:
        """The objects under `data`; none where there is no such list."""
        found = self.row.get("data")
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    @property
    def error(self) -> str | None:
        """The one sentence of a refusal, where it has that shape."""
        return text if isinstance(text := self.row.get("error"), str) else None
