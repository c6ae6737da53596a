"""Who one is to the service: an API key or a bearer token, as the value of one header, made once."""

from __future__ import annotations

import base64
from typing import Protocol

import attrs

from closebulk_async.errors import InvalidRequestError

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


@attrs.frozen(repr=False)
class ApiKey:
    """An API key, sent as HTTP Basic with the key as user and an empty password."""

    key: str = attrs.field(validator=_check_secret)
    _header: str = attrs.field(init=False, eq=False)

    @_header.default
    def _make_header(self) -> str:
        return f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"

    def __attrs_post_init__(self) -> None:
        if ":" in self.key:
            message = "ApiKey: the key holds a colon, at which HTTP Basic would cut it"
            raise InvalidRequestError(message)

    def header(self) -> str:
        """`Basic …`, encoded once."""
        return self._header

    def redact(self, text: str) -> str:
        """Hide the key and its encoded form."""
        return text.replace(self.key, HIDDEN).replace(self._header.removeprefix("Basic "), HIDDEN)

    def __repr__(self) -> str:
        return f"ApiKey({HIDDEN})"


@attrs.frozen(repr=False)
class BearerToken:
    """An OAuth access token that somebody else keeps fresh."""

    token: str = attrs.field(validator=_check_secret)

    def header(self) -> str:
        """`Bearer …`."""
        return f"Bearer {self.token}"

    def redact(self, text: str) -> str:
        """Hide the token."""
        return text.replace(self.token, HIDDEN)

    def __repr__(self) -> str:
        return f"BearerToken({HIDDEN})"
