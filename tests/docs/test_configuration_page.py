"""docs/configuration.md against the code: every name is there, with its default."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import CloseBulk, PollPolicy, RetryPolicy, StartPolicy, Timeouts
from closebulk_async.client import ClientKeywords
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.operations import StartKeywords, WaitKeywords
from closebulk_async.starting import StartOptions
from closebulk_async.waiters import WaitOptions
from tests.cli.test_helps import TREE

from .commands import VARIABLE
from .pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
POLICIES = {policy.__name__: policy for policy in (Timeouts, RetryPolicy, PollPolicy, StartPolicy)}


def rows(heading: str) -> Sequence[Sequence[str]]:
    """The cells of the table below a heading, without its head."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    table = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in table if not row.startswith(("keyword", "field"))]


def defaults(heading: str) -> Mapping[str, Any]:
    """The names of a table with their defaults."""
    return {name.strip("`"): evaluate(default.strip("`")) for name, default, _ in rows(heading)}


def evaluate(text: str) -> object:
    """The value of a cell; of a policy its own default."""
    if (found := re.fullmatch(r"(\w+)\(\)", text)) is not None:
        return POLICIES[found[1]]()
    return ast.literal_eval(text)


def keywords(call: Callable[..., object]) -> Mapping[str, Any]:
    """What a function can be called with by name, and the defaults, durations in seconds."""
    parameters = inspect.signature(call).parameters.values()
    return {
        each.name: each.default.total_seconds() if isinstance(each.default, timedelta) else each.default
        for each in parameters
        if each.default is not each.empty
    }


@pytest.mark.parametrize("name", POLICIES)
def test_the_fields_of_a_policy(name: str) -> None:
    """Each field, in the order of the class, with its default."""
    known = {field.name: field.default for field in attrs.fields(POLICIES[name])}
    assert list(defaults(name).items()) == list(known.items())


def test_the_keywords_of_the_client() -> None:
    """Those of the constructor, which are those of `from_env`."""
    assert list(defaults("CloseBulk").items()) == list(keywords(CloseBulk).items())
    assert defaults("CloseBulk").keys() == {"api_key", *ClientKeywords.__annotations__}


def test_the_keywords_of_a_wait() -> None:
    """Those of `wait_until_done`, whose defaults are those of the options."""
    assert defaults("One wait") == {field.name: field.default for field in attrs.fields(WaitOptions)}
    assert defaults("One wait").keys() == WaitKeywords.__annotations__.keys()


def test_the_keywords_of_a_start() -> None:
    """Those of `create` that say how to start, and not what."""
    assert defaults("One start") == keywords(StartOptions.from_keywords)
    assert defaults("One start").keys() <= StartKeywords.__annotations__.keys()


def test_the_keywords_of_a_fleet() -> None:
    """All but those that have no default."""
    assert defaults("Fleet") == keywords(Fleet)


def test_the_variables_of_the_environment() -> None:
    """Each that the code names, and none that it does not."""
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "closebulk_async").rglob("*.py")
        if not {"simulator", "testing"} & set(path.parts)
    ]
    assert {name.strip("`") for name, *_ in rows("Environment")} == {"variable"} | {
        name for text in sources for name in VARIABLE.findall(text)
    }


def test_the_options_that_the_environment_sets() -> None:
    """With all commands that have them."""
    known = {
        (option.opts[0], option.envvar, " ".join(path))
        for path, command in TREE.items()
        for option in command.params
        if getattr(option, "envvar", None)
    }
    said = {
        (option.strip("`"), variable.strip("`"), command)
        for option, variable, commands in rows("Options that the environment sets")
        for command in re.findall(r"`([^`]+)`", commands)
    }
    assert said == known
