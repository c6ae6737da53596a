"""What is changed of a module, how a change is put in place, and what becomes of a trial that hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from tests.mutants.changes import find_changes
from tests.mutants.swapping import Functions, import_as

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''"""A docstring is left alone."""
from __future__ import annotations
from typing import TYPE_CHECKING
import attrs
if TYPE_CHECKING:
    from pathlib import Path
TABLE = {"a": 1}
@attrs.frozen(kw_only=True)
class Policy:
    floor: float = 2.0
    @property
    def twice(self) -> float:
        return self.floor * 2
    @staticmethod
    async def later(one: int = 4) -> int:
        return one + 5
    async def all(self):
        for number in range(6):
            log(number)
            yield number
def log(number, seen=[]):
    if seen:
        seen.append(number)
def adder(one):
    return lambda other: one + other
add = adder(3)
'''

TRIALS = """
import json, signal, subprocess, sys, time
from contextlib import closing
from tests.mutants.trials import Trial, run_trials

def hang(tell):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    tell("sleeping", limit=0.1)
    time.sleep(3600)

def run_others(tell):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tell("waiting", limit=1.0)
    with closing(run_trials([Trial(0, hang_long, 600.0)], at_once=1)) as results:
        return bool(list(results))

def hang_long(tell):
    time.sleep(3600)

bodies = [lambda tell: True, lambda tell: False, lambda tell: 1 / 0, hang, run_others]
results = run_trials([Trial(number, body, 600.0) for number, body in enumerate(bodies)], at_once=2)
print(json.dumps({result.number: (result.verdict, result.last) for result in results}))
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported by its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / f"changed_{tmp_path.name}.py"
    path.write_text(MODULE)
    return path


@pytest.mark.parametrize(
    ("owner", "becomes", "runs_late"),
    [
        ("", 'TABLE = {"a": 2}', False),
        ("Policy", "@attrs.frozen(kw_only=False)", False),
        ("Policy", "floor: float = 3.0", False),
        ("Policy.twice", "return self.floor / 2", True),
        ("Policy.later", "async def later(one: int = 5) -> int:", False),
        ("Policy.later", "return one - 5", True),
        ("Policy.all", "pass", True),
        ("Policy.all", "for number in range(7):", True),
        ("log", "if not (seen):", True),
        ("adder", "return lambda other: one - other", True),
    ],
)
def test_all_that_decides_is_changed(path: Path, owner: str, becomes: str, runs_late: bool) -> None:  # noqa: FBT001 - of a table
    """Tables, defaults of attrs classes and of parameters, decorators, properties, async functions and generators."""
    assert (owner, becomes, runs_late) in {(it.owner, it.becomes, it.runs_late) for it in find_changes(path)}


def test_what_only_a_type_checker_reads_is_left_alone(path: Path) -> None:
    """No annotation is changed, no docstring, and nothing below `if TYPE_CHECKING`."""
    changes = find_changes(path)
    assert not [it for it in changes if "TYPE_CHECKING" in it.was or "docstring" in it.was]
    assert len({it.code for it in changes}) == len(changes)


def test_a_change_reaches_whoever_holds_the_function(path: Path) -> None:
    """In properties and in functions that a function has made before."""
    module = import_module(path.stem)
    held, policy = module.add, module.Policy()
    functions = Functions.of(path)
    changes = {it.becomes: it.code for it in find_changes(path)}
    assert (policy.twice, held(1)) == (4.0, 4)
    functions.swap(changes["return self.floor / 2"])
    assert (policy.twice, held(1)) == (1.0, 4)
    functions.swap(changes["return lambda other: one - other"])
    assert (policy.twice, held(1)) == (4.0, 2)


def test_a_change_of_a_default_is_there_from_the_import_on(path: Path) -> None:
    """What runs while a module is imported cannot be exchanged afterwards."""
    (change,) = (it for it in find_changes(path) if it.becomes == "floor: float = 3.0")
    import_as(path.stem, change.code)
    assert import_module(path.stem).Policy().twice == 6.0
    with pytest.raises(RuntimeError, match="imported already"):
        import_as(path.stem, change.code)


def test_a_trial_leaves_nothing_behind() -> None:
    """One that falls silent is ended, and what it has started with it; one that raises has not passed."""
    # Its output ends when all that could write to it have ended.
    ran = subprocess.run([sys.executable, "-c", TRIALS], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout) == {
        "0": ["survived", ""],
        "1": ["killed", ""],
        "2": ["killed", ""],
        "3": ["timed out", "sleeping"],
        "4": ["timed out", "waiting"],
    }
