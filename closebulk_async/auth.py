"""Who one is to the service: an API key or a bearer token, as the value of one header, made once.

What a header that changes promises stands here as well; `oauth` keeps it.
"""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import quote

import attrs

from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from closebulk_async.errors import TransportError
    from closebulk_async.patience import Patience
    from closebulk_async.wire import Response

HIDDEN = "***"


class Auth(Protocol):
    """Gives the `Authorization` header, and takes secrets out of texts that are shown."""

    def header(self) -> str:
        """The value of the `Authorization` header."""

    def redact(self, text: str) -> str:
        """`text` with every secret in it replaced."""


class FormSender(Protocol):
    """What a renewal is given of a client: its settings, its time, and a way to send a form."""

    @property
    def base_url(self) -> str:
        """Where the client's requests go, without a slash at the end."""

    @property
    def is_open(self) -> bool:
        """Whether forms may be sent."""

    def now(self) -> datetime:
        """The client's time of day."""

    def patience(self) -> Patience:
        """A fresh one, by the client's policy."""

    async def sleep(self, seconds: float) -> None:
        """Wait before a repeat. Ends early when the client is closed."""

    async def send_form(self, url: str, form: bytes) -> Response | TransportError:
        """The answer of whatever status to a POST without any `Authorization`, or why there is none."""


@runtime_checkable
class RenewableAuth(Auth, Protocol):
    """An `Auth` whose header changes while the client runs, as that of `closebulk_async.oauth.OAuth` does."""

    @property
    def generation(self) -> int:
        """Grows with every change of the header."""

    def is_fresh(self, now: datetime) -> bool:
        """Whether the header can be sent as it is."""

    async def renew(self, sender: FormSender, *, refused: int | None = None) -> bool:
        """Return when there is a fresh header, and another one than that of the generation that was `refused`.

        False where the service would refuse a new one as well. Raises AuthenticationError where there will be none, and
        TransportError where there is none now.
        """

    async def drain(self, sender: FormSender) -> None:
        """Wait until what was sent by this sender is answered, and the answer is taken in."""


def check_secret(value: str, *, owner: str, name: str) -> None:
    """Raise InvalidRequestError where it cannot stand in a header. The message names it and does not show it."""
    # Whitespace, a line end or a control character would end up in a header; the message must not show the value.
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        message = f"{owner}: the {name} must be printable ASCII without spaces, and not empty"
        raise InvalidRequestError(message)


def _check_field(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    check_secret(value, owner=type(instance).__name__, name=attribute.name)


SHORTEST_SECRET = 8
"""Real keys are longer. A made-up one, such as `test`, stands in ordinary words, which would be hidden with it."""


def spellings(*secrets: str) -> tuple[str, ...]:
    """How a page may show them: as they are, percent-encoded in an address, or with slashes that JSON may escape.

    None for secrets that are too short to be any.
    """
    forms = [
        (text, quote(text), quote(text, safe=""), text.replace("/", "\\/"))
        for text in map(str, secrets)  # what is no text is refused by the validator, which comes later
        if len(text) >= SHORTEST_SECRET
    ]
    return tuple(dict.fromkeys(itertools.chain.from_iterable(forms)))


def hide(text: str, forms: Iterable[str]) -> str:
    """`text` with every one of these spellings replaced."""
    for form in forms:
        text = text.replace(form, HIDDEN)
    return text


@attrs.frozen(repr=False)
class ApiKey:
    """An API key, sent as HTTP Basic with the key as user and an empty password."""

    key: str = attrs.field(validator=_check_field)
    _header: str = attrs.field(init=False, eq=False)
    _shown_as: tuple[str, ...] = attrs.field(init=False, eq=False)

    @_header.default
    def _make_header(self) -> str:
        return f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"

    @_shown_as.default
    def _spell(self) -> tuple[str, ...]:
        # Without the padding, which a page may show in another spelling: `&#61;`.
        return spellings(self.key, self._header.removeprefix("Basic ").rstrip("="))

    def __attrs_post_init__(self) -> None:
        if ":" in self.key:
            message = "ApiKey: the key holds a colon, at which HTTP Basic would cut it"
            raise InvalidRequestError(message)

    def header(self) -> str:
        """`Basic …`, encoded once."""
        return self._header

    def redact(self, text: str) -> str:
        """Hide the key and its encoded form."""
        return hide(text, self._shown_as)

    def __repr__(self) -> str:
        return f"ApiKey({HIDDEN})"


@attrs.frozen(repr=False)
class BearerToken:
    """An OAuth access token that somebody else keeps fresh."""

    token: str = attrs.field(validator=_check_field)
    _shown_as: tuple[str, ...] = attrs.field(init=False, eq=False)

    @_shown_as.default
    def _spell(self) -> tuple[str, ...]:
        return spellings(self.token)

    def header(self) -> str:
        """`Bearer …`."""
        return f"Bearer {self.token}"

    def redact(self, text: str) -> str:
        """Hide the token."""
        return hide(text, self._shown_as)

    def __repr__(self) -> str:
        return f"BearerToken({HIDDEN})"
