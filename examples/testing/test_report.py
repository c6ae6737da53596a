"""A function of an action, which needs no simulator."""

import pytest

from closebulk_async import BulkAction, BulkDelete, BulkEmail


def report(action: BulkAction) -> str:
    """A line for the log book."""
    if action.is_failed:
        return f"{action.kind} FAILED after {action.n_objects_processed} of {action.n_objects}"
    return f"{action.kind} {action.status}"


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (BulkEmail.example(status="done"), "email done"),
        (BulkDelete.example(status="error", n_objects=10, n_objects_processed=4), "delete FAILED after 4 of 10"),
    ],
)
def test_lines_of_the_log_book(action: BulkAction, line: str) -> None:
    """Each ends as it should."""
    assert report(action) == line
