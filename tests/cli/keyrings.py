"""A keyring in a file that a test names: one that processes share, and nobody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from .programs import environment

NAME = f"{__name__}.FileKeyring"
"""How `PYTHON_KEYRING_BACKEND` names it."""

FILE = "TESTS_KEYRING"
"""The variable of the environment that says where the file is."""


class FileKeyring(KeyringBackend):
    """Keeps passwords by service and name."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        """The password, None where there is none."""
        return read().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it."""
        _write(read() | {f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        """Forget it. Raises PasswordDeleteError where there is none."""
        kept = read()
        if kept.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError(username)
        _write(kept)


class LockedKeyring(KeyringBackend):
    """One whose owner does not unlock it."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:  # noqa: ARG002 - whatever it is
        """Raise KeyringLocked, as the others do."""
        raise KeyringLocked("it is locked")

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002 - as above
        """Keep nothing."""
        raise KeyringLocked("it is locked")

    def delete_password(self, service: str, username: str) -> None:  # noqa: ARG002 - as above
        """Forget nothing."""
        raise KeyringLocked("it is locked")


def read(file: Path | None = None) -> dict[str, str]:
    """All that is kept."""
    file = file or Path(os.environ[FILE])
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return kept


def environment_with(file: Path, **changes: str) -> dict[str, str]:
    """An environment without a key, whose keyring is this file."""
    kept = {"PYTHON_KEYRING_BACKEND": NAME, FILE: str(file), "XDG_STATE_HOME": str(file.parent)}
    return environment(**kept, **changes)


def _write(kept: dict[str, str]) -> None:
    Path(os.environ[FILE]).write_text(json.dumps(kept))
