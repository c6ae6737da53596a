"""What a test of code that uses this package needs: a clock that jumps, and a pytest plugin that wires it up.

`FakeClock` imports nothing of the client and may be shared by client and simulator. The fixtures are in
`closebulk_async.testing.plugin`, which is imported by pytest only, because it needs pytest-asyncio.
"""

from __future__ import annotations

from .fake_clock import FakeClock
from .standstill import StuckClockError

__all__ = ["FakeClock", "StuckClockError"]
