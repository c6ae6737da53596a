"""The stage of the tests of fleets."""

from __future__ import annotations

from tests.fleet.stage import fleet_stage

__all__ = ["fleet_stage"]
