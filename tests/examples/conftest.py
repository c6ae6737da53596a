"""A trap for what would ask Close, and the modules of the examples for what is tested of them in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.traps import set_trap

from .programs import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.traps import Trap


@pytest.fixture
async def trap(tmp_path: Path) -> AsyncIterator[Trap]:
    """An environment that leads to a server of the test's instead of Close, by every way."""
    async with set_trap(tmp_path) as trap:
        yield trap


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples can be imported, as they import each other."""
    monkeypatch.syspath_prepend(EXAMPLES)
