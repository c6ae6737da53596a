"""The judge of pyright's report lets nothing pass that has no type, and no exception that is none any more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.completeness import OF_AIRFLOW, find_gaps

KNOWN = {"isExported": True, "isTypeKnown": True, "isTypeAmbiguous": False, "diagnostics": []}
AIRFLOW = [{**KNOWN, "name": name, "isTypeKnown": False} for name in sorted(OF_AIRFLOW)]
ONE = {**KNOWN, "name": "closebulk_async.One"}


def report_of(*symbols: dict[str, Any]) -> dict[str, Any]:
    """What pyright writes of these names."""
    return {"typeCompleteness": {"symbols": list(symbols)}}


def test_known_names_pass() -> None:
    """Names with types, what is exported by nobody, and the two of Airflow's are no gaps."""
    hidden = {**ONE, "isExported": False, "isTypeKnown": False}
    assert find_gaps(report_of(ONE, hidden, *AIRFLOW)) == []


@pytest.mark.parametrize("changed", [{"isTypeKnown": False}, {"isTypeAmbiguous": True}])
def test_gap_is_named(changed: dict[str, Any]) -> None:
    """A type that is unknown, or left to be guessed, is a line with pyright's reason."""
    gap = {**ONE, **changed, "diagnostics": [{"message": "it is\nguessed"}]}
    assert find_gaps(report_of(gap, *AIRFLOW)) == ["closebulk_async.One: it is, guessed"]


def test_gap_without_a_reason_is_named() -> None:
    """A class is incomplete by its members alone."""
    gap = {**ONE, "isTypeKnown": False}
    assert find_gaps(report_of(gap, *AIRFLOW)) == ["closebulk_async.One: one of its parts has no type"]


def test_exception_that_is_none_is_named() -> None:
    """Where Airflow's bases are known, the exception has to go."""
    (gap,) = find_gaps(report_of(ONE, AIRFLOW[0]))
    assert gap == f"{AIRFLOW[1]['name']}: has a type now, and needs no exception"


@pytest.mark.parametrize("report", [{}, {"typeCompleteness": {}}, report_of()])
def test_empty_report_is_a_gap(report: dict[str, Any]) -> None:
    """A report of nothing, as of a package that was not found, is no proof."""
    assert find_gaps(report) == ["closebulk_async: pyright found no names in it"]
