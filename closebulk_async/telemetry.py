"""What the package tells of itself beside its log: frozen events, and the hook that takes them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

from closebulk_async.intents import Intent
from closebulk_async.models import JobRef

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger("closebulk_async")


@attrs.frozen(kw_only=True)
class StartReconciled:
    """The action of an ambiguous start was looked for.

    `adopted`: one was found, `ref`, and is the intent's own now; `missing`: none was found within the time that the
    service may take to show one; `several`: more than one may be it; `unknown`: the list could not be read.
    """

    intent: Intent
    outcome: Literal["adopted", "missing", "several", "unknown"]
    ref: JobRef[Any] | None = None


Event: TypeAlias = StartReconciled
"""Every event that a hook may get."""


class Hook(Protocol):
    """Takes events. It is called where they happen, on the event loop: it must not block. What it raises is logged."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


class Telling:
    """Tells every hook of an event."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        """Keep the hooks, in the order in which they are told."""
        self._hooks = tuple(hooks)

    def __call__(self, event: Event) -> None:
        """Tell them all; one that raises keeps nobody from anything."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                logger.exception("the hook %r failed on %r", hook, event)
