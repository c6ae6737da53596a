"""Shell completion, asked for as the scripts of the shells ask."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from .programs import COMMAND, PIPE, SHORT, Finished, environment, finish

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ["email", "delete", "edit", "sequence_subscription", "export"]

WITHOUT_NETWORK = (
    "import socket, sys\n"
    "def refuse(*_): raise SystemExit('no network for completions')\n"
    "sys.addaudithook(lambda event, _: refuse() if event.startswith('socket.') else None)\n"
    "sys.modules['keyring'] = None\n"
    "from closebulk_async.cli import main\n"
    "sys.exit(main())\n"
)
"""The command in a process that ends at the first touch of a socket, and has no keyring."""


async def call(*arguments: str, **variables: str) -> Finished:
    """The command without a key, without network and without a keyring."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT_NETWORK, *arguments, env=environment(**variables), stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(SHORT * 4):
        return await finish(process)


async def complete(shell: str, line: str) -> list[str]:
    """What a shell is told to offer at the end of a line."""
    words = shlex.split(line)
    finished = await call(
        _CLOSEBULK_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) if line.endswith(" ") else len(words) - 1),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert (finished.code, finished.err) == (0, "")
    return finished.lines


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("closebulk out", ["outcomes"]),
        ("closebulk start ", ["email", "delete", "edit", "sequence"]),
        ("closebulk export d", ["download"]),
        ("closebulk demo --kind ", KINDS),
        ("closebulk demo --kind e", ["email", "edit", "export"]),
        ("closebulk start email --contact-preference ", ["lead", "contact", "all"]),
        ("closebulk start email --on-ambiguous r", ["reconcile", "raise", "resend"]),
        ("closebulk export leads --format ", ["csv", "json"]),
        ("closebulk login --api", ["--api-key"]),
        ("closebulk limits --pro", ["--profile"]),
        ("closebulk --profile work doc", ["doctor"]),
        ("closebulk get --profile work --deb", ["--debug"]),
    ],
)
async def test_bash(line: str, offered: list[str]) -> None:
    """Commands, options, kinds and choices; without a key, a keyring and the network."""
    assert await complete("bash", line) == offered


async def test_zsh() -> None:
    """The same with what each command does."""
    (offered,) = await complete("zsh", "closebulk lim")
    assert offered.startswith('_arguments \'*: :(("limits":"Show how many requests Close still allows.')
    kinds = await complete("zsh", "closebulk demo --kind ")
    assert [kind for kind in KINDS if f'"{kind}"' not in "\n".join(kinds)] == []


async def test_fish() -> None:
    """The same with what each command does."""
    assert await complete("fish", "closebulk lim") == ["limits\tShow how many requests Close still allows."]
    assert await complete("fish", "closebulk demo --kind ") == KINDS


async def under_bash(option: str, home: Path) -> Finished:
    """The command as a bash of somebody with this home runs it; the shell is told by who started the command."""
    line = f"{shlex.join((*COMMAND, option))}; exit $?"
    process = await asyncio.create_subprocess_exec(
        "bash", "--norc", "-c", line, env=environment(HOME=str(home)), stdout=PIPE, stderr=PIPE
    )
    return await finish(process)


async def test_the_script_can_be_shown(tmp_path: Path) -> None:
    """It completes the command `closebulk`, by the variable that the command listens to."""
    shown = await under_bash("--show-completion", tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "_CLOSEBULK_COMPLETE=complete_bash" in shown.out
    assert shown.lines[-1].startswith("complete ")
    assert shown.lines[-1].endswith(" closebulk")
    assert not await asyncio.to_thread((tmp_path / ".bash_completions").exists)


async def test_the_script_can_be_installed(tmp_path: Path) -> None:
    """Where bash finds it when it starts."""
    installed = await under_bash("--install-completion", tmp_path)
    assert (installed.code, installed.err) == (0, "")
    script = tmp_path / ".bash_completions" / "closebulk.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert "_CLOSEBULK_COMPLETE=complete_bash" in script.read_text()
