"""docs/configuration.md against the code: every name is there, with its default."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import (
    CloseBulk,
    DeleteStart,
    OAuth,
    PollPolicy,
    RetryPolicy,
    SqliteJournal,
    StartPolicy,
    Timeouts,
    webhooks,
)
from closebulk_async.client import ClientKeywords
from closebulk_async.dashboard import make_app, setup
from closebulk_async.integrations.postgres import PostgresJournal
from closebulk_async.integrations.postgres_limiter import PostgresLimiter
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.integrations.redis import RedisLimiter
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
CALLS: Mapping[str, Callable[..., object]] = {
    **{each.__name__: each for each in (CloseBulk, SqliteJournal, PostgresJournal, PostgresLimiter, RedisLimiter)},
    **{each.__name__: each for each in (OAuth, make_app, Fleet)},
    "Fleet.work": Fleet.work,
    "webhooks.setup": webhooks.setup,
}
"""What has keywords of its own that a table can tell."""


def rows(of: str) -> Sequence[Sequence[str]]:
    """The cells of the rows that begin with it, without that."""
    table = [[cell.strip() for cell in row.split(" | ")] for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)]
    return [cells for first, *cells in table if first.strip("`") == of]


def defaults(of: str) -> Mapping[str, Any]:
    """The names of its rows with their defaults."""
    return {name.strip("`"): evaluate(default.strip("`")) for name, default, _ in rows(of)}


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


@pytest.mark.parametrize("name", CALLS)
def test_the_keywords_of_a_call(name: str) -> None:
    """Each that can be left out, in the order of the signature, with its default."""
    assert list(defaults(name).items()) == list(keywords(CALLS[name]).items())


def test_the_same_keywords_have_the_same_type() -> None:
    """Those of the constructor are those of `from_env`, and those of a start those that `create` takes."""
    assert defaults("CloseBulk").keys() == {"api_key", *ClientKeywords.__annotations__}
    assert defaults("a start").keys() <= StartKeywords.__annotations__.keys()


def test_the_keywords_of_a_start() -> None:
    """Those that say how to start, and of the start itself what lets everything through."""
    own = {field.name: field.default for field in attrs.fields(DeleteStart)}
    assert defaults("a start") == {
        **keywords(StartOptions.from_keywords),
        **{name: own[name] for name in ("allow_all", "extra")},
    }


def test_the_dashboard_below_a_path_has_the_keywords_of_the_other() -> None:
    """But for the path's, and those of fleets."""
    others = {name: default for name, default in keywords(make_app).items() if name not in {"path", "fleet", "account"}}
    assert keywords(setup) == {"prefix": "/closebulk", **others}


def test_the_keywords_of_a_wait() -> None:
    """Those of `wait_until_done`, whose defaults are those of the options."""
    assert defaults("a wait") == {field.name: field.default for field in attrs.fields(WaitOptions)}
    assert defaults("a wait").keys() == WaitKeywords.__annotations__.keys()


def test_every_row_is_of_something_known() -> None:
    """So that none is left out of these tests."""
    firsts = set(re.findall(r"^\| `?([^`|]+?)`? \| `", PAGE, re.MULTILINE))
    assert firsts == {*POLICIES, *CALLS, "a start", "a wait", "environment"}


def test_the_variables_of_the_environment() -> None:
    """Each that the code names, and none that it does not."""
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "closebulk_async").rglob("*.py")
        if not {"simulator", "testing"} & set(path.parts)
    ]
    assert {name.strip("`") for name, *_ in rows("environment")} == {
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
        (option, variable.strip("`"), command)
        for variable, _, text in rows("environment")
        for option, commands in re.findall(r"\(as `(--[\w-]+)` of (.*)\)", text)
        for command in re.findall(r"`closebulk ([^`]+)`", commands)
    }
    assert said == known
