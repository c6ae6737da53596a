"""Tests of what connects the package with other libraries."""

from __future__ import annotations
