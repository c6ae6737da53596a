"""Ids formed as the service forms them, the same in every run with the same seed."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_BASE62 = string.digits + string.ascii_letters
_OBJECT = 43  # as in every id of a job, a user or an organization in the vendor's samples
_EVENT = 22  # as in those of events


def make_id(prefix: str, source: random.Random) -> str:
    """A new id of an object: the prefix and 43 characters."""
    return prefix + "".join(source.choices(_BASE62, k=_OBJECT))


def make_event_id(prefix: str, source: random.Random) -> str:
    """A new id of what the event log deals in, events, requests and subscriptions: the prefix and 22 characters."""
    return prefix + "".join(source.choices(_BASE62, k=_EVENT))
