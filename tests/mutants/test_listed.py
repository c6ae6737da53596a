"""The list of survivors: what stands in it is known, anything else is new, and each has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.changes import Change
from tests.mutants.listed import Survivors, key_of, to_toml
from tests.mutants.tables import NOT_LOOKED_AT, TESTS, list_files


def change(was: str, becomes: str, *, owner: str = "wait") -> Change:
    """One of the module `policy`."""
    code = compile("", "policy.py", "exec")
    return Change(module="policy", owner=owner, was=was, becomes=becomes, code=code, runs_late=True)


ROOT = Path(__file__).parents[2]
KNOWN = change("x = 'a'\ny = 1", "x = 'b'\ny = 2")


def listed(path: Path, *changes: Change, reason: str = "equivalent") -> Survivors:
    """The list that these changes make."""
    lines = ["[[policy]]", 'owner = "wait"', f'reason = "{reason}"', "changes = [", *map(to_toml, changes), "]"]
    path.write_text("\n".join(lines))
    return Survivors.read(path)


def test_what_is_not_listed_is_new(tmp_path: Path) -> None:
    """A change is known by its module, its function and its lines, quotes and several lines included."""
    known = listed(tmp_path / "survivors.toml", KNOWN)
    others = [change("x = 'a'", "x = 'b'"), change(KNOWN.was, KNOWN.becomes, owner="sleep")]
    assert known.without([KNOWN, *others]) == others


def test_what_did_not_survive_is_said(tmp_path: Path) -> None:
    """Of the modules that were tried."""
    known = listed(tmp_path / "survivors.toml", KNOWN)
    assert known.outdated(["policy"], []) == [key_of(KNOWN)]
    assert known.outdated(["policy"], [KNOWN]) == []
    assert known.outdated(["query"], []) == []


def test_each_survivor_stands_there_once_with_its_reason(tmp_path: Path) -> None:
    """Nobody lists one without having looked at it."""
    with pytest.raises(ValueError, match="has no reason"):
        listed(tmp_path / "survivors.toml", KNOWN, reason=" ")
    with pytest.raises(ValueError, match="stands there twice"):
        listed(tmp_path / "survivors.toml", KNOWN, KNOWN)


def test_the_list_is_of_modules_that_are_tried() -> None:
    """And whose tests are there."""
    assert {key[0] for key in Survivors.read().reasons} <= set(TESTS)
    assert not set(TESTS) & set(NOT_LOOKED_AT)
    for module in (*TESTS, *NOT_LOOKED_AT):
        assert all((ROOT / name.partition("::")[0]).is_file() for name in list_files(module))
        assert (ROOT / "closebulk_async" / f"{module}.py").is_file()
