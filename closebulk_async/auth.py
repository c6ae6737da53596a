"""Who one is to the service: an API key or a bearer token, as the value of one header, made once."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import attrs

from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"


class Auth(Protocol):
    """Gives the `Authorization` header, and takes secrets out of texts that are shown."""

    def header(self) -> str:
        """The value of the `Authorization` header."""

    def redact(self, text: str) -> str:
        """`text` with every secret in it replaced."""


def _check_secret(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    what = type(instance).__name__
    # Whitespace, a line end or a control character would end up in a header; the message must not show the value.
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        message = f"{what}: the {attribute.name} must be printable ASCII without spaces, and not empty"
        raise InvalidRequestError(message)


SHORTEST_SECRET = 8
"""Real keys are longer. A made-up one, such as `test`, stands in ordinary words, which would be hidden with it."""


def _spellings(*secrets: str) -> tuple[str, ...]:
    """How a page may show them: as they are, percent-encoded in an address, or with slashes that JSON may escape.

    None for secrets that are too short to be any.
    """
    forms = [
        (text, quote(text), quote(text, safe=""), text.replace("/", "\\/"))
        for text in map(str, secrets)  # what is no text is refused by the validator, which comes later
        if len(text) >= SHORTEST_SECRET
    ]
    return tuple(dict.fromkeys(itertools.chain.from_iterable(forms)))


def _hide(text: str, spellings: Iterable[str]) -> str:
    for form in spellings:
        text = text.replace(form, HIDDEN)
    return text


@attrs.frozen(repr=False)
class ApiKey:
    """An API key, sent as HTTP Basic with the key as user and an empty password."""

    key: str = attrs.field(validator=_check_secret)
    _header: str = attrs.field(init=False, eq=False)
    _shown_as: tuple[str, ...] = attrs.field(init=False, eq=False)

    @_header.default
    def _make_header(self) -> str:
        return f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"

    @_shown_as.default
    def _spell(self) -> tuple[str, ...]:
        # Without the padding, which a page may show in another spelling: `&#61;`.
        return _spellings(self.key, self._header.removeprefix("Basic ").rstrip("="))

    def __attrs_post_init__(self) -> None:
        if ":" in self.key:
            message = "ApiKey: the key holds a colon, at which HTTP Basic would cut it"
            raise InvalidRequestError(message)

    def header(self) -> str:
        """`Basic …`, encoded once."""
        return self._header

    def redact(self, text: str) -> str:
        """Hide the key and its encoded form."""
        return _hide(text, self._shown_as)

    def __repr__(self) -> str:
        return f"ApiKey({HIDDEN})"


@attrs.frozen(repr=False)
class BearerToken:
    """An OAuth access token that somebody else keeps fresh."""

    token: str = attrs.field(validator=_check_secret)
    _shown_as: tuple[str, ...] = attrs.field(init=False, eq=False)

    @_shown_as.default
    def _spell(self) -> tuple[str, ...]:
        return _spellings(self.token)

    def header(self) -> str:
        """`Bearer …`."""
        return f"Bearer {self.token}"

    def redact(self, text: str) -> str:
        """Hide the token."""
        return _hide(text, self._shown_as)

    def __repr__(self) -> str:
        return f"BearerToken({HIDDEN})"
