"""What a run says about a question, and in which words: numbers, and names that are not of any customer."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.contract.exchanges import Exchange

SHORTEST_ID = 16


class State(StrEnum):
    """How a question stands after a run."""

    SETTLED = "settled"
    OPEN = "not settled"
    UNREAD = "cannot be settled by reading"


@attrs.frozen
class Verdict:
    """What is known now, or why nothing is."""

    state: State
    text: str


def settled(text: str) -> Verdict:
    """It is known."""
    return Verdict(State.SETTLED, text)


def not_settled(text: str) -> Verdict:
    """It could have been, and was not."""
    return Verdict(State.OPEN, text)


def unread(text: str) -> Verdict:
    """No read can tell."""
    return Verdict(State.UNREAD, text)


def prefixes(ids: Iterable[object]) -> list[str]:
    """What the ids begin with, without what makes each one unlike the others."""
    found = (re.fullmatch(rf"((?:[a-z0-9]+_)+)[A-Za-z0-9]{{{SHORTEST_ID},}}", str(id_)) for id_ in ids)
    return sorted({match[1] for match in found if match})


def quoted(exchange: Exchange) -> str:
    """The status of an answer and what its body says, with ids and long numbers masked and nothing of other fields."""
    row = exchange.row
    said = [text for text in (row.get("error"), *_texts(row.get("errors")), *_texts(row.get("field-errors"))) if text]
    words = "; ".join(masked(str(text)) for text in said) or f"{len(exchange.body)} bytes without a text"
    return f"{exchange.status}: {words}"


def masked(text: str, *, at_most: int = 200) -> str:
    """A text without ids and addresses, on one line."""
    text = re.sub(r"[a-z0-9]+_[A-Za-z0-9]{10,}", "{id}", text)
    text = re.sub(r"\S+@\S+", "{address}", text)
    return re.sub(r"\s+", " ", text)[:at_most]


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {text}" for name, item in value.items() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [str(value)] if value is not None else []


def listed(names: Iterable[object]) -> str:
    """Names in a row, in order and each once; a dash where there are none."""
    return ", ".join(sorted({str(name) for name in names})) or "none"
