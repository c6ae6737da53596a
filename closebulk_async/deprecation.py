"""How it is said that a public name or keyword will go: docs/deprecation.md promises when."""

from __future__ import annotations

import warnings


class CloseBulkDeprecationWarning(DeprecationWarning):
    """Something of this package is used that a later version has no more. The message says what to use instead.

    A class of its own, so that tests can refuse it and no other: `error::closebulk_async.CloseBulkDeprecationWarning`.
    """


def warn_deprecated(what: str, *, instead: str, gone_in: str, stacklevel: int = 1) -> None:
    """Warn whoever called the function that calls this one; `stacklevel` counts further up, as in `warnings.warn`."""
    warnings.warn(
        f"{what} is deprecated and goes in closebulk_async {gone_in}; use {instead}",
        CloseBulkDeprecationWarning,
        stacklevel=stacklevel + 2,
    )
