"""What is printed of an assertion about Close that does not hold: which one, and where; no values."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.gate import GateError
from tests.contract.starting import LeftPausedError, StartRefusedError

if TYPE_CHECKING:
    import pytest

_OF_THE_SUITE = (GateError, LeftPausedError, StartRefusedError)
"""Exceptions whose text says nothing about the account but numbers, and which action the suite has left there."""


def describe_failure(item: pytest.Item, failure: pytest.ExceptionInfo[BaseException]) -> str:
    """The sentence that is not true, the line that found it, and the kind of error."""
    entry = next(
        (entry for entry in reversed(failure.traceback) if "/contract/" in str(entry.path)), failure.traceback[-1]
    )
    sentence = inspect.getdoc(getattr(item, "function", item)) or item.name
    told = f": {failure.value}" if isinstance(failure.value, _OF_THE_SUITE) else ""
    return "\n".join(
        (
            f"does not hold: {' '.join(sentence.split())}",
            f"{Path(entry.path).name}:{entry.lineno + 1}: {str(entry.statement).strip()}",
            f"{failure.typename}{told}",
            "(--contract-values shows what was compared)",
        )
    )
