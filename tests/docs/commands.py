"""What a page tells to type, checked by what would be called: its real parser, and nothing is run."""

from __future__ import annotations

import re
import shlex
import tomllib
from contextlib import chdir
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from closebulk_async.cli.calls import add_shared_options
from closebulk_async.cli.program import app
from closebulk_async.simulator.__main__ import _parser as make_simulator_parser

from .pages import ROOT, make_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .blocks import Block

OPERATORS = frozenset({"|", "||", "&", "&&", ";"})
PROMPT = "$ "
VARIABLE = re.compile(r"\bCLOSE(?:BULK)?_[A-Z_]+\b")
"""What this package's variables of the environment are called."""
FILE = re.compile(r"[\w-]+\.(db|json|csv|html|txt)")


def lines_of(block: Block) -> Iterator[str]:
    """What is typed, with what goes on after a backslash: the lines after a prompt, in `sh` all of them."""
    for line in re.sub(r"\\\n\s*(?:> )?", "", block.text).splitlines():
        if block.language == "sh" or line.startswith(PROMPT):
            yield line.removeprefix(PROMPT)


def complaints_of(line: str) -> Iterator[str]:
    """What is wrong with a line: each of its commands is known, and would be understood."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word in OPERATORS:
            yield from _complain(command)
            command = []
        else:
            command.append(word)


def _complain(words: Sequence[str]) -> Iterator[str]:
    words = _without_redirections(words)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        yield from _variable(words[:1])
        words = words[1:]
    if not words:
        return
    name, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if name not in CHECKS:
        yield f"nobody checks {name!r}: add a check to tests/docs/commands.py"
        return
    try:
        yield from CHECKS[name](rest)
    except SystemExit as exc:  # argparse, whose message is on standard error
        yield f"{name} would end with {exc.code}"
    except USAGE_ERROR as exc:
        yield f"{name}: {exc.format_message()}"


def _without_redirections(words: Sequence[str]) -> Sequence[str]:
    at = next((place for place, word in enumerate(words) if word in {"<", ">", ">>"}), len(words))
    return words[:at]


USAGE_ERROR: Any = typer.BadParameter.__base__


def _closebulk(arguments: Sequence[str]) -> Iterator[str]:
    """By the command's own parser, down to the last group, in a folder where the files are that it names."""
    with TemporaryDirectory() as folder, chdir(folder):
        for argument in arguments:
            if FILE.fullmatch(argument):
                Path(argument).touch()
        _parse(add_shared_options(typer.main.get_command(app)), "closebulk", list(arguments))
    yield from ()


def _parse(command: Any, name: str, arguments: list[str], parent: Any = None) -> None:  # noqa: ANN401 - typer's, by its version
    try:
        with command.make_context(name, arguments, parent=parent) as context:
            if hasattr(command, "commands"):
                # Whichever of the two holds the rest: that differs with the version.
                rest = [*getattr(context, "_protected_args", ()), *context.args]
                below, found, rest = command.resolve_command(context, rest)
                _parse(found, below, rest, context)
    except typer.Exit:  # of `--help` and `--version`
        return


def _pip(arguments: Sequence[str]) -> Iterator[str]:
    """The extras of this package that it names exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for argument in arguments:
        if found := re.fullmatch(r"closebulk-async\[([\w,-]+)\]", argument):
            yield from (f"no extra {extra!r}" for extra in found[1].split(",") if extra not in extras)


def _make(arguments: Sequence[str]) -> Iterator[str]:
    """The targets exist."""
    yield from (f"no target {word!r}" for word in arguments if "=" not in word and word not in make_targets())


def _python(arguments: Sequence[str]) -> Iterator[str]:
    """A module of the repository's, or a program of it, that is there."""
    match arguments:
        case ["-m", "closebulk_async.simulator", *rest]:
            make_simulator_parser().parse_args(rest)
        case ["-m", "venv" | "pytest" | "pip", *_]:
            return
        case ["-m", module, *_]:
            path = ROOT / module.replace(".", "/")
            if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists():
                yield f"no module {module}"
        case [program, *_]:
            if not (ROOT / program).exists():
                yield f"no program {program}"


def _variable(words: Sequence[str]) -> Iterator[str]:
    """What of the environment is this package's stands somewhere in its code."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("CLOSE") and name not in variables():
            yield f"nothing reads {name}"


@cache
def variables() -> frozenset[str]:
    """The names of the environment that the package and its tests know."""
    sources = [*(ROOT / "closebulk_async").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    texts = (path.read_text(encoding="utf-8") for path in sources if path.parent != Path(__file__).parent)
    return frozenset(name for text in texts for name in VARIABLE.findall(text))


def _anything(_arguments: Sequence[str]) -> Iterator[str]:
    """Programs of other people's whose options are none of ours."""
    yield from ()


CHECKS: Mapping[str, Callable[[Sequence[str]], Iterator[str]]] = {
    "closebulk": _closebulk,
    "export": _variable,
    "make": _make,
    "pip": _pip,
    "python": _python,
} | dict.fromkeys(
    (".", "apt-get", "awk", "cd", "curl", "echo", "git", "head", "jq", "pytest", "read", "source"), _anything
)
"""How each command is checked that a page may tell to type."""
