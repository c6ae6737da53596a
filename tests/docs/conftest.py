"""The site, built once for all tests of a run, and a browser to look at it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from filelock import FileLock
from playwright.async_api import async_playwright

from tests.browser.scenes import FLAGS, find_browser

from .pages import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser


@attrs.frozen
class Site:
    """What the command of `make docs` has made: its exit code, what it said, and the folder."""

    folder: Path

    @property
    def code(self) -> int:
        """Of the command; not 0 where Sphinx has warned of something."""
        return int((self.folder.parent / "code").read_text())

    @property
    def said(self) -> str:
        """All warnings."""
        return (self.folder.parent / "said").read_text()


def build(target: Path) -> None:
    """Run the very command of `make docs`, into another folder."""
    (command,) = re.findall(r"\$\(BIN\)/python (-m sphinx .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    words = [word.replace("build/", f"{target}/") for word in shlex.split(command)]
    # What of the package Sphinx runs is no test of it, and measuring its coverage takes longer than the build.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    made = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=env,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    target.joinpath("said").write_text(made.stdout)
    target.joinpath("code").write_text(str(made.returncode))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Built by whichever worker asks first; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    target = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with FileLock(f"{target}.lock"):
        if not target.exists():
            target.mkdir()
            build(target)
    return Site(target / "docs")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's own Chromium, without a window."""
    path = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()
