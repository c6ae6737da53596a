"""Where an auth that renews itself meets the connections of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from closebulk_async.auth import RenewableAuth
    from closebulk_async.connections import Connections
    from closebulk_async.errors import TransportError
    from closebulk_async.settings import Settings
    from closebulk_async.wire import Response


class Renewal:
    """The header of one client's requests, kept fresh; to the auth it is the sender."""

    def __init__(
        self,
        auth: RenewableAuth,
        settings: Settings,
        connections: Connections,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Send nothing yet. `sleep` ends early when the client is closed."""
        self._auth = auth
        self._settings = settings
        self._connections = connections
        self._sleep = sleep

    @property
    def is_due(self) -> bool:
        """Whether the header has to be renewed before the next request."""
        return not self._auth.is_fresh(self.now())

    async def renew(self, *, refused: int | None = None) -> bool:
        """As `RenewableAuth.renew`."""
        return await self._auth.renew(self, refused=refused)

    async def drain(self) -> None:
        """Wait until what was sent from here is answered, and the answer is taken in."""
        await self._auth.drain(self)

    @property
    def base_url(self) -> str:
        """Where the client's requests go, without a slash at the end."""
        return self._settings.base_url

    @property
    def is_open(self) -> bool:
        """Whether forms may be sent."""
        return self._connections.is_open

    def now(self) -> datetime:
        """The client's time of day."""
        return self._settings.clock.now()

    def patience(self) -> Patience:
        """A fresh one, by the client's policy."""
        return Patience(self._settings.retry)

    async def sleep(self, seconds: float) -> None:
        """Wait before a repeat."""
        await self._sleep(seconds)

    async def send_form(self, url: str, form: bytes) -> Response | TransportError:
        """As `Connections.send_form`."""
        return await self._connections.send_form(url, form)
