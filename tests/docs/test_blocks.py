"""Every code block of README, docs/, CHANGELOG and the other pages is executed, or parsed by what would read it.

For whoever writes a page, the convention. A block does not go on with another one. By its language:

- `python`: (a) a program. It is run in an empty folder, with CLOSE_API_KEY and CLOSE_BASE_URL of a simulator of its
  own, whose jobs take a fifth of a second, and has to end with 0 and without a warning; so it makes its client by
  `CloseBulk.from_env()`, or starts its own `Simulator`. One with an `idempotency_key` is run twice, and starts no more
  the second time. (b) With a test in it, a module for pytest. It is run with `asyncio_mode = auto` and a `conftest.py`
  that has the plugin. A page that needs more has a test of its own, which runs all of its Python blocks, and a row in
  `OWN_TESTS` of `tests/docs/blocks.py`.
- `console`: lines that begin with `$ ` are typed, the others are what is printed. `sh`: all lines are typed. Each
  command of them is known to `tests/docs/commands.py`, and parsed by its real parser where it is one of this project's.
- `toml`, `json`, `yaml`, `ini`: can be parsed.
- Any other language has a row in `NOT_CHECKED`, with the reason.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from .blocks import BLOCKS, OWN_TESTS, Block, of
from .commands import complaints_of, lines_of
from .pages import PAGES, ROOT
from .running import run, run_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CHECKED = frozenset({"python", "console", "sh", "toml", "json", "yaml", "ini"})

NOT_CHECKED: Mapping[str, str] = {
    "nginx": "nginx is no dependency of the tests; docs/dashboard.md was tried with it by hand",
    "{toctree}": "Sphinx reads it, and a page that is missing there fails the strict build",
}
"""Languages whose blocks nothing checks, each with the reason."""

ON_THEIR_OWN = [block for block in of("python") if block.page not in OWN_TESTS]
# So that this kind of block is tried whether a page has one or not.
A_MODULE = Block(
    page="a module",
    line=1,
    language="python",
    text="async def test_it(close_client):\n    assert (await close_client.emails.list()).data == []\n",
)
PROGRAMS = [block for block in ON_THEIR_OWN if not block.is_tests]
MODULES = [A_MODULE, *(block for block in ON_THEIR_OWN if block.is_tests)]
LINES = [(block, line) for block in of("console", "sh") for line in lines_of(block)]

READERS: Mapping[str, Callable[[str], object]] = {
    "toml": tomllib.loads,
    "json": json.loads,
    "yaml": yaml.safe_load,
    "ini": configparser.ConfigParser().read_string,
}


def test_every_block_is_checked_by_something() -> None:
    """There is no block without a language, and none in a language that has no check and no reason for that."""
    assert [str(block) for block in BLOCKS if block.language not in CHECKED | NOT_CHECKED.keys()] == []


def test_all_pages_are_looked_at() -> None:
    """Those of the root, those in folders of docs/, and that of the examples."""
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs/index.md", "docs/queries.md", "examples/README.md"} <= pages


@pytest.mark.parametrize("page", OWN_TESTS)
def test_a_page_with_tests_of_its_own_is_named_there(page: str) -> None:
    """The page has Python blocks, and the module that runs them is there and says which page it reads."""
    assert [block for block in of("python") if block.page == page]
    assert page.rpartition("/")[2] in (ROOT / OWN_TESTS[page]).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_a_program_ends_well(block: Block, tmp_path: Path) -> None:
    """It exits with 0 beside a simulator, in an empty folder; one with keys does so once more, without a second job."""
    runs = await run(block.text, tmp_path, times=1 + ("idempotency_key" in block.text))
    assert [ran for ran in runs if not ran.is_well] == []
    assert len({ran.jobs for ran in runs}) == 1


@pytest.mark.parametrize("block", MODULES, ids=str)
def test_a_module_of_tests_passes(block: Block, pytester: pytest.Pytester) -> None:
    """Each of its tests is found and passes, and there is one at least."""
    outcomes = run_tests(block.text, pytester)
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= block.text.count("def test_")


@pytest.mark.parametrize(("block", "line"), LINES, ids=[f"{block} {line[:40]}" for block, line in LINES])
def test_what_is_typed_would_be_understood(block: Block, line: str) -> None:
    """Commands, options, extras, targets and variables are there."""
    assert list(complaints_of(line)) == []


@pytest.mark.parametrize("block", of("console"), ids=str)
def test_a_console_block_has_a_prompt(block: Block) -> None:
    """Without one, nothing of it would be looked at."""
    assert list(lines_of(block))


def test_data_can_be_read() -> None:
    """By the parser of its language."""
    for block in of(*READERS):
        READERS[block.language](block.text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("closebulk ls --sinc 7d", "No such option"),
        ("closebulk lss", "No such command"),
        ("closebulk start email --limit x", "No such option"),
        ("closebulk ls --limit x", "valid integer"),
        ('pip install "closebulk-async[cli,none]"', "no extra 'none'"),
        ("make no-such-target", "no target"),
        ("python examples/none.py", "no program"),
        ("python -m tests.none", "no module"),
        ("CLOSEBULK_NONE_SUCH=1 closebulk ls", "nothing reads CLOSEBULK_NONE_SUCH"),
        ("closebulk ls | frobnicate", "nobody checks 'frobnicate'"),
        ("closebulk ls && closebulk lss", "No such command"),
    ],
)
def test_what_is_wrong_is_found(line: str, said: str) -> None:
    """A command that is not there, an option, an extra, a target, a variable; also behind a pipe."""
    (complaint,) = complaints_of(line)
    assert said in complaint


def test_continued_lines_are_one() -> None:
    """A backslash at the end of a line goes on with the next, and output is not typed."""
    text = "$ closebulk ls \\\n    --since 7d\nnothing\n$ make test\n"
    assert list(lines_of(Block(page="", line=1, language="console", text=text))) == [
        "closebulk ls --since 7d",
        "make test",
    ]
    typed = "make test\nmake lint\n"
    assert list(lines_of(Block(page="", line=1, language="sh", text=typed))) == ["make test", "make lint"]


async def test_a_program_that_fails_is_found(tmp_path: Path) -> None:
    """So is one that only warns."""
    (ran,) = await run("import warnings; warnings.warn('this')", tmp_path)
    assert (ran.code, ran.is_well) == (1, False)
    assert "UserWarning: this" in ran.complaints
