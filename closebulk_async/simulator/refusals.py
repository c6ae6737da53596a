"""The answers that say no, in the shapes that the service is known to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED = "This field is required."
NOT_A_CHOICE = "Not a valid choice."


class RefusedError(Exception):
    """A request that the API answers with an error status; `payload` is the JSON body."""

    def __init__(self, status: int, payload: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, payload)
        self.status = status
        self.payload = payload
        self.headers = headers


def refused(text: str, *, status: int = 400, headers: tuple[tuple[str, str], ...] = ()) -> RefusedError:
    """An error with one sentence: `{"error": text}`."""
    return RefusedError(status, {"error": text}, headers)


def refused_fields(errors: Mapping[str, object]) -> RefusedError:
    """A 400 that names fields: `errors` is a list at the top, and `field-errors` has a hyphen.

    The value is a text, or for a list `{"errors": {index: ...}}` with such a text or an object of `field-errors`.
    """
    return RefusedError(400, {"errors": [], "field-errors": dict(errors)})
