"""Whether a checkout may become a release: `python -m tests.release.ready [--version 1.2.3]`.

Looks at the tree, the tag, the version, CHANGELOG.md and the address in the metadata, says all that is in the way, and
exits with 1 then. What takes longer, `make release-check` asks afterwards.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from tests.release.locks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_SECTION = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>.*))?\n(?P<text>(?:(?!## ).*\n?)*)", re.MULTILINE)


def git(root: Path, *arguments: str) -> list[str]:
    """The lines that a command of git prints."""
    ran = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)  # noqa: S607 - git is where the machine keeps it
    return ran.stdout.splitlines()


def read_version(root: Path) -> str:
    """The version as it stands in the checkout, which need not be the one that is imported."""
    found = _VERSION.search((root / "closebulk_async" / "version.py").read_text(encoding="utf-8"))
    return found[1] if found else "no version"


def find_obstacles(root: Path, *, version: str | None) -> Iterator[str]:
    """All that is in the way of a release of a checkout as `version`, or as the one of the tag on it."""
    yield from _in_the_tree(root)
    own = read_version(root)
    if not _RELEASE.fullmatch(own):
        yield f"{own} is not a version of three numbers"
    if version not in {None, own}:
        yield f"{version} was asked for, and closebulk_async/version.py has {own}"
    yield from _with_the_tag(root, own, is_given=version is not None)
    yield from _with_the_address(root)
    yield from _in_the_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), own)


def _in_the_tree(root: Path) -> Iterator[str]:
    changed = git(root, "status", "--porcelain")
    if changed:
        yield f"the tree is not clean: {', '.join(changed[:5])}"


def _with_the_tag(root: Path, version: str, *, is_given: bool) -> Iterator[str]:
    tag = f"v{version}"
    if tag in git(root, "tag", "--points-at", "HEAD"):
        return
    if git(root, "tag", "--list", tag):
        yield f"{tag} is the tag of another commit: this version is out already"
    elif not is_given:
        yield f"HEAD has no tag {tag}; to look before there is one: make release-check VERSION={version}"


def _with_the_address(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not project.get("urls"):
        yield "pyproject.toml has no [project.urls]: docs/releasing.md says what the first release needs"


def _in_the_changelog(text: str, version: str) -> Iterator[str]:
    sections = {section["name"]: section for section in _SECTION.finditer(text)}
    unreleased, own = sections.get("Unreleased"), sections.get(version)
    if unreleased is None:
        yield "CHANGELOG.md has no section [Unreleased]"
    elif unreleased["text"].strip():
        yield f"CHANGELOG.md has something under [Unreleased]: does it belong to {version}?"
    if own is None:
        yield f"CHANGELOG.md has no section [{version}]"
        return
    if not _is_date(own["date"]):
        yield f"CHANGELOG.md has no date after [{version}], as in: ## [{version}] - 2026-11-30"
    if not own["text"].strip():
        yield f"CHANGELOG.md says nothing under [{version}]"


def _is_date(text: str | None) -> bool:
    try:
        date.fromisoformat(text or "")
    except ValueError:
        return False
    return True


def main() -> int:
    """Say what is in the way of a release, if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to look at")
    parser.add_argument("--version", help="the version that is to be released, where there is no tag yet")
    given = parser.parse_args()
    obstacles = list(find_obstacles(given.root, version=given.version))
    (commit,) = git(given.root, "rev-parse", "--short", "HEAD")
    said = [f"not ready: {obstacle}" for obstacle in obstacles] or [f"{read_version(given.root)} is that of {commit}"]
    print(*said, sep="\n")  # noqa: T201 - printing is what the program does
    return int(bool(obstacles))


if __name__ == "__main__":
    sys.exit(main())
