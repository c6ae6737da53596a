"""The changes that no test finds, each with the reason: read from `survivors.toml`, and compared with a run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tests.mutants.changes import Change

SURVIVORS = Path(__file__).with_name("survivors.toml")

Key: TypeAlias = tuple[str, str, str, str]
"""Module, owner, the lines as they were, the lines as they are."""


@attrs.frozen
class Survivors:
    """What is known to survive, and why."""

    reasons: dict[Key, str]

    @classmethod
    def read(cls, path: Path = SURVIVORS) -> Survivors:
        """The whole list. Raises ValueError where one has no reason, or stands there twice."""
        reasons: dict[Key, str] = {}
        for module, groups in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for group in groups:
                for change in group["changes"]:
                    key = module, group["owner"], change["was"].strip(), change["becomes"].strip()
                    if key in reasons or not group["reason"].strip():
                        message = f"{path}: {key} has no reason, or stands there twice"
                        raise ValueError(message)
                    reasons[key] = group["reason"]
        return cls(reasons)

    def without(self, survived: Iterable[Change]) -> list[Change]:
        """Those of these changes that are not listed."""
        return [change for change in survived if key_of(change) not in self.reasons]

    def outdated(self, modules: Collection[str], survived: Sequence[Change]) -> list[Key]:
        """What is listed of these modules, and did not survive."""
        there = {key_of(change) for change in survived}
        return [key for key in self.reasons if key[0] in modules and key not in there]


def key_of(change: Change) -> Key:
    """How a change is listed."""
    return change.module, change.owner, change.was, change.becomes


def to_toml(change: Change) -> str:
    """A change as a line of the list."""
    return f"    {{ was = {_quote(change.was)}, becomes = {_quote(change.becomes)} }},"


def _quote(text: str) -> str:
    """A literal string of TOML: nothing is escaped in one."""
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    return f"'''{text}'''"
