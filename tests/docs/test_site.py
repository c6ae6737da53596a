"""The site of `make docs`: built without a warning, with the whole API, and a browser finds nothing wrong with it."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from sphinx.util.inventory import InventoryFile

import closebulk_async

from .sites import complaints_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from playwright.async_api import Browser

    from .conftest import Site

pytestmark = pytest.mark.timeout(300)  # the first to ask builds the site, on a machine that may be busy

PROGRAMS = ("dashboard", "integrations", "simulator", "testing", "webhooks")
NEEDS_AIRFLOW = "closebulk_async.integrations.airflow"


def public_modules() -> Iterator[ModuleType]:
    """The package, and all modules of its programs that say by `__all__` what is theirs."""
    yield closebulk_async
    for info in pkgutil.walk_packages(closebulk_async.__path__, "closebulk_async."):
        if info.name.split(".")[1] in PROGRAMS and not info.name.startswith(NEEDS_AIRFLOW):
            module = importlib.import_module(info.name)
            if hasattr(module, "__all__"):
                yield module


def entries_of(site: Site) -> Counter[int]:
    """How many entries each object has in the API, by its identity; other spellings of an entry do not count."""
    inventory = InventoryFile.loads((site.folder / "objects.inv").read_bytes(), uri="").data
    kinds = ("class", "exception", "function", "data", "module")
    items = [(name, item) for kind in kinds for name, item in inventory[f"py:{kind}"].items()]
    return Counter(
        id(resolve_name(name))
        for name, item in items
        if item.uri.endswith((f"#{name}", f"#module-{name}")) and not name.startswith(NEEDS_AIRFLOW)
    )


def test_it_is_built_without_a_warning(site: Site) -> None:
    """Every reference of pages and docstrings has its target, and every directive its object."""
    assert (site.code, site.said) == (0, "")


def test_each_public_name_is_in_the_api_once(site: Site) -> None:
    """What a module names in `__all__` has one entry, under whichever of its names."""
    entries = entries_of(site)
    names = {
        f"{module.__name__}.{name}": getattr(module, name) for module in public_modules() for name in module.__all__
    }
    assert len(names) > 150
    assert {name: entries[id(found)] for name, found in names.items() if entries[id(found)] != 1} == {}


async def test_a_browser_finds_nothing_wrong(site: Site, browser: Browser) -> None:
    """No link leads nowhere, no picture is missing, nothing is too wide for a telephone, and nobody else is asked."""
    assert await complaints_of(browser, site.folder) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read(site: Site, browser: Browser, scheme: Literal["light", "dark"]) -> None:
    """Of prose, tables, code and signatures axe-core finds the contrast high enough, in the light and in the dark."""
    page = await browser.new_page(color_scheme=scheme)
    low = []
    async with serving(site.folder) as url:
        for name in ("docs/queries.html", "docs/api/waits.html"):
            await page.goto(url + name)
            found = await Axe().run(page, options={"runOnly": ["color-contrast"]})
            low += [node["html"] for violation in found.response["violations"] for node in violation["nodes"]]
    assert low == []


WRONG = """<!doctype html>
<title>Wrong</title>
<link rel="icon" href="data:,">
<style>body { background: white; margin: 0 }</style>
<p style="width: 900px" id="there">
<a href="right.html">right</a> <a href="right.html#here">right</a> <a href="#there">right</a>
<a href="https://example.com/none">not looked at</a>
<a href="none.html">wrong</a> <a href="right.html#none">wrong</a> <a href="#none">wrong</a>
<img src="none.png" alt="">
<img src="http://example.com/picture.png" alt="">
<script>console.error("broken"); throw new Error("thrown")</script>
"""
RIGHT = """<!doctype html>
<title>Right</title>
<link rel="icon" href="data:,">
<style>body { background: #111; color: #eee }</style>
<p id="here">All is well: <a href="wrong.html#there">there</a>
"""


async def test_what_is_wrong_is_found(browser: Browser, tmp_path: Path) -> None:
    """A broken link, anchor or picture, a request that leaves, an error, too wide a page, one that is never dark."""
    (tmp_path / "right.html").write_text(RIGHT, encoding="utf-8")
    (tmp_path / "wrong.html").write_text(WRONG, encoding="utf-8")
    complaints = await complaints_of(browser, tmp_path)
    assert {complaint.partition(" ")[0] for complaint in complaints} == {"wrong.html"}
    said = sorted(complaint.partition(" ")[2].partition(": Failed")[0] for complaint in complaints)
    assert said == [
        "asks for http://example.com/picture.png",
        "is 900 wide on a screen of 360",
        "is not dark in the dark",
        "leads to none.html, which is not there",
        "leads to right.html#none, which is not there",
        "leads to wrong.html#none, which is not there",
        "raises thrown",
        "says on the console",
        "says on the console: broken",
        "shows nothing for http://example.com/picture.png",
        "shows nothing for none.png",
    ]
