"""What a test of code that uses this package needs: a clock that jumps.

`FakeClock` imports nothing of the client and may be shared by client and simulator.
"""

from __future__ import annotations

from .fake_clock import FakeClock

__all__ = ["FakeClock"]
