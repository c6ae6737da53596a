"""How much is tried: little in each run of the tests, and far more with `HYPOTHESIS_PROFILE=explore`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

IS_EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"

TIMES = 25
"""How many times as many examples the explorer tries."""


def some(n: int) -> settings:
    """So many examples, or as many times more as are to be explored."""
    times = TIMES if IS_EXPLORING else 1
    return settings(max_examples=n * times, suppress_health_check=[HealthCheck.too_slow])
