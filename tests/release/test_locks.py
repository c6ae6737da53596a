"""What is installed to develop, test and build is what a lock names, by hashes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.release.locks import ROOT, LockError, find_locks, read_pins

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "attrs==26.1.0 ; python_full_version < '3.15' \\\n    --hash=sha256:{hash} \\\n    --hash=sha256:{hash}\n"


def commands(path: Path) -> list[str]:
    """Lines of a Makefile or a shell script, with those that go on joined, and make's two variables filled in."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for name in ("INSTALL", "LOCKED"):
        if value := re.search(rf"^{name} := (.*)$", text, re.MULTILINE):
            text = text.replace(f"$({name})", value[1])
    return [line for line in text.splitlines() if not re.match(r"\s*#|[A-Z]+ :=", line)]


def is_locked(command: str) -> bool:
    """Whether what pip installs or fetches is known by its hash, or was there before."""
    words = set(command.split())
    checked = {"--require-hashes", "--only-binary", ":all:"} <= words and re.search(r" -r requirements/\S+$", command)
    ours = {"--no-deps", "--no-build-isolation"} <= words and command.endswith(" --editable .")
    return bool(checked) or ours or {"--isolated", "--no-index"} <= words


def of_pip(command: str) -> bool:
    """Whether it makes pip or uv install or fetch something."""
    return re.search(r"\b(pip|uv)\b.* (install|download|wheel|sync)\b", command) is not None


def of_a_trial(command: str) -> bool:
    """Whether it installs what `make test-lowest` or `make test-newest` have resolved, which is their purpose."""
    return command.endswith(" -r $(VENV)-locks/$(1).txt")


@pytest.mark.parametrize("name", ["Makefile", ".ci/run"])
def test_nothing_is_installed_that_no_lock_names(name: str) -> None:
    """Each `pip install` checks hashes and takes wheels only, or installs this checkout, or what was checked before."""
    found = [command for command in commands(ROOT / name) if of_pip(command) and not of_a_trial(command)]
    assert found
    assert [command for command in found if not is_locked(command)] == []


@pytest.mark.parametrize("name", ["Makefile", ".ci/run"])
def test_builds_take_what_the_lock_has(name: str) -> None:
    """A build in an environment of its own would fetch hatchling anew, in whatever version."""
    builds = [command for command in commands(ROOT / name) if re.search(r"-m build\b", command)]
    assert [build for build in builds if "--no-isolation" not in build] == []


@pytest.mark.parametrize(
    "command",
    [
        "python -m pip install closebulk-async",
        "python -m pip install --require-hashes -r requirements/dev.txt",
        "python -m pip install --require-hashes --only-binary :all: -r made-just-now.txt",
        "python -m pip install --constraint pins.txt wheel.whl",
        "python -m pip install --no-deps --no-build-isolation --editable . ruff",
        "python -m pip install --no-index wheel.whl",
    ],
)
def test_what_is_not_locked_is_found(command: str) -> None:
    """By names, with sources that build, hashes that no lock has or versions only, or from a folder of the machine."""
    assert of_pip(command)
    assert not is_locked(command)


@pytest.mark.parametrize("lock", find_locks(ROOT), ids=lambda lock: lock.stem)
def test_a_lock_has_versions_and_hashes_only(lock: Path) -> None:
    """No address, no option, no range, and a hash below each pin."""
    pins = list(read_pins(lock))
    assert len(set(pins)) == len(pins) > 0
    text = lock.read_text(encoding="utf-8")
    assert len(re.findall(r"==.*\\\n    --hash=sha256:", text)) == len(pins)


def test_pins_are_read_for_every_platform(tmp_path: Path) -> None:
    """What another Python or system gets is a pin as well."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK.format(hash="0" * 64))
    assert list(read_pins(lock)) == [("attrs", "26.1.0")]


@pytest.mark.parametrize("line", ["attrs>=26", "--index-url http://127.0.0.1/", "attrs @ http://127.0.0.1/a.whl"])
def test_what_is_no_pin_is_refused(tmp_path: Path, line: str) -> None:
    """An audit that left out a line would be one of something else."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK.format(hash="0" * 64) + line + "\n")
    with pytest.raises(LockError, match=r"lock\.txt:4 "):
        list(read_pins(lock))
