"""`make release-check` refuses what is not ready, and does all else but the upload."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.release.locks import ROOT
from tests.release.ready import find_obstacles, git
from tests.release.services import Database, plain_environment
from tests.release.test_audit import lay_down, of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="looks at a checkout")

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-30

### Added

- Something.

## [1.2.2] - 2026-11-01

- It.
"""
NOBODY: Mapping[str, str] = {
    **{f"GIT_{who}_NAME": "Nobody" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "nobody" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout that is ready to be released as 1.2.3, with a tag on it."""
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "checkout"
    (root / "closebulk_async").mkdir(parents=True)
    (root / "closebulk_async" / "version.py").write_text('__version__ = "1.2.3"\n')
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    (root / "pyproject.toml").write_text('[project.urls]\nSource = "https://host/it"\n')
    (root / ".gitignore").write_text("build/\ndist/\n__pycache__/\n.is-made\n")
    lay_down(root)
    git(root, "init", "--quiet")
    commit(root)
    git(root, "tag", "v1.2.3")
    return root


def commit(root: Path) -> None:
    """Commit all that is there."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All of it")


def obstacles(root: Path, *, version: str | None = None) -> Sequence[str]:
    """What is in the way of a release."""
    return list(find_obstacles(root, version=version))


def test_a_tagged_checkout_is_ready(checkout: Path) -> None:
    """With or without the version said."""
    assert obstacles(checkout) == obstacles(checkout, version="1.2.3") == []


def test_a_version_serves_where_there_is_no_tag(checkout: Path) -> None:
    """One of both has to say that this commit is meant."""
    git(checkout, "tag", "--delete", "v1.2.3")
    assert obstacles(checkout, version="1.2.3") == []
    (said,) = obstacles(checkout)
    assert said == "HEAD has no tag v1.2.3; to look before there is one: make release-check VERSION=1.2.3"


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.py"])
def test_a_tree_that_is_not_clean_is_refused(checkout: Path, name: str) -> None:
    """A changed file as well as a new one: neither would be in the tag."""
    with (checkout / name).open("a") as file:
        file.write("\n")
    (said,) = obstacles(checkout)
    assert said.startswith("the tree is not clean: ")
    assert name in said


def test_another_version_is_refused(checkout: Path) -> None:
    """The one that was asked for is that of the package."""
    assert obstacles(checkout, version="1.3.0") == [
        "1.3.0 was asked for, and closebulk_async/version.py has 1.2.3",
    ]


def test_a_version_that_is_out_is_refused(checkout: Path) -> None:
    """Its tag is on another commit."""
    (checkout / "new.py").touch()
    commit(checkout)
    assert obstacles(checkout, version="1.2.3") == ["v1.2.3 is the tag of another commit: this version is out already"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## [1.2.3] - 2026-11-30\n", "## [1.2.4] - 2026-11-30\n", "CHANGELOG.md has no section [1.2.3]"),
        ("[1.2.3] - 2026-11-30", "[1.2.3]", "CHANGELOG.md has no date after [1.2.3], as in: ## [1.2.3] - 2026-11-30"),
        ("2026-11-30", "soon", "CHANGELOG.md has no date after [1.2.3], as in: ## [1.2.3] - 2026-11-30"),
        ("### Added\n\n- Something.\n", "", "CHANGELOG.md says nothing under [1.2.3]"),
        ("## [Unreleased]\n", "", "CHANGELOG.md has no section [Unreleased]"),
        (
            "## [Unreleased]\n",
            "## [Unreleased]\n\n### Fixed\n\n- A thing.\n",
            "CHANGELOG.md has something under [Unreleased]: does it belong to 1.2.3?",
        ),
    ],
)
def test_a_changelog_that_does_not_tell_of_it_is_refused(checkout: Path, old: str, new: str, said: str) -> None:
    """It has the version, a date, something to say, and no more that waits for a version."""
    (checkout / "CHANGELOG.md").write_text(CHANGELOG.replace(old, new))
    commit(checkout)
    assert obstacles(checkout, version="1.2.3")[1:] == [said]


def test_metadata_without_an_address_are_refused(checkout: Path) -> None:
    """Nobody would find the source, and links of the README could not be made whole."""
    (checkout / "pyproject.toml").write_text("[project]\n")
    commit(checkout)
    assert obstacles(checkout, version="1.2.3")[1:] == [
        "pyproject.toml has no [project.urls]: docs/releasing.md says what the first release needs"
    ]


def test_a_version_is_three_numbers(checkout: Path) -> None:
    """What semantic versioning means, and what a tag is named by."""
    (checkout / "closebulk_async" / "version.py").write_text('__version__ = "1.2"\n')
    assert "1.2 is not a version of three numbers" in obstacles(checkout)


@attrs.frozen
class Ran:
    """What `make release-check` has said, and how it ended."""

    code: int | None
    text: str


async def release_check(root: Path, *arguments: str) -> Ran:
    """Run it in a checkout, with the environment of this test in the place of one of its own."""
    has = (f"BIN={Path(sys.executable).parent}", "DEV=.is-made")
    process = await asyncio.create_subprocess_exec(
        *("make", "release-check", *has, *arguments),
        cwd=root,
        env=plain_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return Ran(process.returncode, printed.decode())


@pytest.fixture
def whole(checkout: Path) -> Path:
    """The small checkout with our Makefile and programs, and a gate that says that it was asked."""
    licences = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    for name in ("Makefile", "pyproject.toml", "tests/__init__.py", "tests/distributions.py", *licences):
        (checkout / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(ROOT / name, checkout / name)
    project = checkout / "pyproject.toml"
    if "urls" not in tomllib.loads(project.read_text())["project"]:
        project.write_text(project.read_text() + '\n[project.urls]\nSource = "https://host/it"\n')
    (checkout / "README.md").write_text("# It\n\n[Start](https://host/it/start)\n")
    (checkout / "docs").mkdir()
    (checkout / "docs" / "conf.py").write_text('root_doc = "docs/index"\n')
    (checkout / "docs" / "index.rst").write_text("A page\n======\n")
    shutil.copytree(ROOT / "tests" / "release", checkout / "tests" / "release")
    for name in ("__init__.py", "py.typed"):
        (checkout / "closebulk_async" / name).touch()
    gate = checkout / ".ci" / "run"
    gate.parent.mkdir()
    gate.write_text("#!/bin/sh\necho the gate was asked\n")
    gate.chmod(0o755)
    commit(checkout)
    (checkout / ".is-made").touch()  # later than all that it would be made from
    return checkout


async def test_release_check_does_all_but_the_upload(whole: Path) -> None:
    """It ends with the hashes of what it has built, and the commands that are left."""
    git(whole, "tag", "--force", "v1.2.3")
    async with Database() as database:
        ran = await release_check(whole, f"AUDIT_ARGS={' '.join(of(database))}")
    assert ran.code == 0, ran.text
    order = (
        "1.2.3 is that of ",
        "audit: none of 2 packages has a known vulnerability",
        "the gate was asked",
        "hold what they should, and the sdist gives both again",
        "dist/closebulk_async-1.2.3-py3-none-any.whl",
        "git tag --sign v1.2.3",
        "uv publish dist/*",
    )
    places = [ran.text.find(words) for words in order]
    assert -1 not in places
    assert places == sorted(places)


async def test_release_check_refuses_what_is_not_ready(whole: Path) -> None:
    """All that is in the way is said at once, before anything that takes long."""
    git(whole, "tag", "--delete", "v1.2.3")
    (whole / "CHANGELOG.md").write_text("# Changelog\n")
    ran = await release_check(whole, "VERSION=1.2.3")
    assert ran.code == 2
    assert "not ready: the tree is not clean" in ran.text
    assert "not ready: CHANGELOG.md has no section [1.2.3]" in ran.text
    assert "audit" not in ran.text


async def test_release_check_refuses_a_package_that_was_not_audited(whole: Path) -> None:
    """The gate would go on; a release does not."""
    git(whole, "tag", "--force", "v1.2.3")
    async with Database({"yarl": 503}) as database:
        ran = await release_check(whole, f"AUDIT_ARGS={' '.join(of(database))}")
    assert ran.code == 2
    assert "audit: NOT DONE for 1 of 2 packages" in ran.text
    assert "the gate was asked" not in ran.text
