"""What is deprecated says so to whoever uses it, with the name of what takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async import CloseBulkDeprecationWarning
from closebulk_async.deprecation import warn_deprecated

if TYPE_CHECKING:
    from pathlib import Path


def former_name() -> None:
    """What a function does that is deprecated."""
    warn_deprecated("former_name()", instead="name()", gone_in="0.4")


def test_it_names_what_to_use_and_the_line_that_used_it() -> None:
    """Not a line of this package, where nobody could mend it."""
    with pytest.warns(CloseBulkDeprecationWarning) as warned:
        former_name()
    (warning,) = warned
    assert str(warning.message) == "former_name() is deprecated and goes in closebulk_async 0.4; use name()"
    assert warning.filename == __file__
    assert warning.lineno == test_it_names_what_to_use_and_the_line_that_used_it.__code__.co_firstlineno + 3


def test_it_is_a_deprecation_warning() -> None:
    """Python shows it to those who run tests, and hides it from those who run programs."""
    assert issubclass(CloseBulkDeprecationWarning, DeprecationWarning)


def test_tests_can_refuse_it_alone(pytester: pytest.Pytester) -> None:
    """By the line for a configuration of pytest that docs/deprecation.md shows."""
    pytester.makeini("[pytest]\nfilterwarnings = error::closebulk_async.CloseBulkDeprecationWarning\n")
    pytester.makepyfile(
        """
        import warnings
        from closebulk_async.deprecation import warn_deprecated

        def test_ours():
            warn_deprecated("x", instead="y", gone_in="0.4")

        def test_another():
            warnings.warn("z", DeprecationWarning)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1, failed=1, warnings=1)


def test_the_policy_shows_that_line(pytestconfig: pytest.Config) -> None:
    """Who copies it refuses what is deprecated."""
    page: Path = pytestconfig.rootpath / "docs" / "deprecation.md"
    assert "error::closebulk_async.CloseBulkDeprecationWarning" in page.read_text(encoding="utf-8")
