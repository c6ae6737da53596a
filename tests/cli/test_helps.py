"""What all commands have in common, those of later days included: the whole tree is walked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import typer

from closebulk_async.cli import main
from closebulk_async.cli.calls import add_shared_options
from closebulk_async.cli.program import ORDER, app

if TYPE_CHECKING:
    from collections.abc import Iterator


def walk(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's, by its version
    """Each command with the words that lead to it, groups included, the program itself first."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, *path, name)


TREE = dict(walk(add_shared_options(typer.main.get_command(app))))
LEAVES = {path: command for path, command in TREE.items() if not hasattr(command, "commands")}
each_command = pytest.mark.parametrize("path", TREE, ids=" ".join)
each_leaf = pytest.mark.parametrize("path", LEAVES, ids=" ".join)


def options_of(command: Any) -> set[str]:  # noqa: ANN401 - as above
    """The spellings of its options."""
    return {spelling for parameter in command.params for spelling in parameter.opts if spelling.startswith("--")}


def test_the_tree_has_what_is_known() -> None:
    """The walk sees groups and what is in them."""
    known = "", "watch", "start", "start email", "export leads", "limits", "doctor"
    assert {tuple(words.split()) for words in known} <= TREE.keys()


@each_command
def test_help_says_what_it_does_and_shows_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example is a command that begins with these words, as it can be typed."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  [A-Z].*", shown, re.MULTILINE)
    _, found, examples = shown.partition("\n  Example")
    assert found
    lines = examples.splitlines()[1:]
    assert any(line.startswith(f"    {' '.join(('closebulk', *path))}") for line in lines)
    assert all(line.startswith("    ") for line in lines)


@each_command
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    """None has an empty line in the help."""
    assert [parameter.name for parameter in TREE[path].params if not getattr(parameter, "help", None)] == []


@each_leaf
def test_every_command_can_print_json(path: tuple[str, ...]) -> None:
    """By the same option."""
    assert "--json" in options_of(LEAVES[path])


@each_command
def test_every_command_takes_the_shared_options(path: tuple[str, ...]) -> None:
    """All can be debugged; all but the demo, which never talks to Close, have profiles."""
    options = options_of(TREE[path])
    assert "--debug" in options
    assert ("--profile" in options) is (path != ("demo",))


@each_command
def test_no_option_takes_a_key(path: tuple[str, ...]) -> None:
    """What is an argument stands in the list of processes: secrets are no values of options."""
    valued = {
        spelling
        for parameter in TREE[path].params
        for spelling in parameter.opts
        if not getattr(parameter, "is_flag", False)
    }
    # The key of an idempotent start is a name that one gives to it, and no secret.
    assert [
        each
        for each in valued - {"--idempotency-key"}
        if re.search(r"key|secret|password|token|bearer", each, re.IGNORECASE)
    ] == []


@pytest.mark.parametrize("path", [path for path in TREE if path not in LEAVES], ids=" ".join)
def test_groups_show_their_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever types no command wants to know which there are; to a script it is wrong usage all the same."""
    assert main([*path, "--help"]) == 0
    wanted = capsys.readouterr().out
    assert main([*path]) == 2
    assert capsys.readouterr() == ("", wanted)


def test_commands_stand_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Each once, what belongs together side by side."""
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert tuple(line.split()[0] for line in listed.splitlines()) == ORDER
    assert ORDER[:3] == ("start", "ls", "watch")


@each_command
@pytest.mark.parametrize("columns", [40, 51, 52])
def test_help_fits_narrow_terminals(
    path: tuple[str, ...], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines break between words; longer are options with all their choices, which are one word."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out.partition("\n  Example")[0]
    assert [line for line in shown.splitlines() if len(line) > columns and len(line.split()) > 2] == []
