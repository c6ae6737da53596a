"""Calls against answers that are no HTTP of the service's: each ends, in time, with an error of the package."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.hostile.answers import CUTS, DRIPS, ENDLESS, HEADS, LENGTHS, LIMITS, PACKED, STATUSES
from tests.hostile.calls import FEW
from tests.hostile.judging import try_all
from tests.hostile.trying import IS_EXPLORING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.servers import Script

pytestmark = pytest.mark.unmeasured

QUICK = {**HEADS, **LENGTHS, **PACKED, **STATUSES, **DRIPS}
TYPICAL = {"nothing", "rubbish", "a status line that drips", "429, empty", "404, with an action", "a length of more"}
"""Answers that every call meets: one for each way in which an exchange goes wrong. Others meet one call of a kind."""


def each(scripts: Mapping[str, Script]) -> pytest.MarkDecorator:
    """One test for each of them."""
    return pytest.mark.parametrize(("name", "script"), [pytest.param(*item, id=item[0]) for item in scripts.items()])


@each(QUICK)
async def test_every_call_ends_with_an_error_of_the_package(
    name: str, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Or with what it made of the answer; and nothing of it is a mistake by the log."""
    is_for_all = IS_EXPLORING or name in TYPICAL
    # A file has no bound but for each silence: one that drips is fetched for as long as it does.
    left = {"download", "stream"} if name in DRIPS else set()
    verdict = await try_all(script, only=lambda call: (is_for_all or call in FEW) and call not in left)
    assert len(verdict.errors) >= len(FEW) - len(left)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@each({**LIMITS, **CUTS})
async def test_absurd_limits_and_cuts(name: str, script: Script) -> None:
    """A header that makes no sense is none, and an answer that is cut off anywhere is none."""
    await try_all(script, only=lambda call: IS_EXPLORING or call in {"get email", "download", "me, by a grant"})


@each(ENDLESS)
async def test_a_body_has_a_cap(name: str, script: Script) -> None:
    """Beyond it the client hangs up, whatever the answer says of its length."""
    await try_all(script, only={"get email", "start email", "exchange a code"}.__contains__, attempts=1)
