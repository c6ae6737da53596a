"""What the person who runs the suite asks of it, checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from closebulk_async import EditStart, InvalidRequestError, UnsafeQueryError
from closebulk_async.oauth_wire import BASE_URL
from closebulk_async.settings import check_base_url

KEY, ADDRESS = "CLOSE_CONTRACT_KEY", "CLOSE_CONTRACT_BASE_URL"

GAP = 0.25
"""Seconds between two requests to Close, which is known to allow twenty a second, and two searches."""

STARTABLE: Mapping[str, Mapping[str, Sequence[str]]] = {"edit": {"set_lead_status": ("lead_status_id",)}}
"""What may be started, by kind and type, with what it needs.

An email cannot be unsent, a deletion not undone, a field's old value is gone, and a sequence writes to people. A lead
that has the status already is what it was.
"""


@attrs.frozen(kw_only=True)
class Live:
    """A service that is not the simulator."""

    key: str = attrs.field(repr=False)
    base_url: str
    gap: float


@attrs.frozen(kw_only=True)
class ToStart:
    """The one action that may be started, on at most so many leads."""

    edit: EditStart = attrs.field(repr=False)
    most: int


@attrs.frozen(kw_only=True)
class Options:
    """What is run, and where the report goes."""

    live: Live | None = None
    start: ToStart | None = None
    report: Path | None = None
    shows_values: bool = False
    """Whether the failure of an assertion about Close shows what was compared, which is somebody's data."""
    notice: str | None = None
    """What was not asked for, although it looks as if it was meant."""


@attrs.frozen(kw_only=True)
class Given:
    """The options of the command line as they were typed."""

    live: bool = False
    report: str | None = None
    processes: int = 0
    gap: float = GAP
    values: bool = False
    start: bool = False
    query: str | None = None
    kind: str | None = None
    parameters: Sequence[str] = ()
    most: int | None = None


def add_options(parser: pytest.Parser) -> None:
    """The options of this suite."""
    group = parser.getgroup("contract", "the contract suite (docs/differences.md)")
    group.addoption("--contract-live", action="store_true", help=f"read Close too, with the key in {KEY}")
    group.addoption("--contract-report", metavar="PATH", help="where the report goes, as Markdown")
    group.addoption("--contract-gap", type=float, default=GAP, help="seconds between two requests (%(default)s)")
    group.addoption("--contract-values", action="store_true", help="let failures show values, which are your data")
    group.addoption("--contract-start", action="store_true", help="start one action at Close, pause it and resume it")
    group.addoption("--contract-query", metavar="FILE", help="the s_query of that action, as JSON")
    group.addoption("--contract-kind", metavar="KIND", help="its kind: edit")
    group.addoption(
        "--contract-param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="its parameters: type=set_lead_status, lead_status_id=stat_…",
    )
    group.addoption("--contract-most", type=int, metavar="N", help="leads that the query may match at the most (1)")


def given_options(config: pytest.Config) -> Given:
    """What was typed."""
    return Given(
        live=config.getoption("--contract-live"),
        report=config.getoption("--contract-report"),
        processes=config.getoption("numprocesses", None) or 0,
        gap=config.getoption("--contract-gap"),
        values=config.getoption("--contract-values"),
        start=config.getoption("--contract-start"),
        query=config.getoption("--contract-query"),
        kind=config.getoption("--contract-kind"),
        parameters=config.getoption("--contract-param"),
        most=config.getoption("--contract-most"),
    )


def read_options(given: Given, environ: Mapping[str, str]) -> Options:
    """What is to be run. Raises `pytest.UsageError` for anything that does not say plainly what is meant."""
    report = None if given.report is None else Path(given.report)
    if given.processes and (given.live or report):
        raise pytest.UsageError("--contract-live and --contract-report are for one process: add --numprocesses 0")
    key = environ.get(KEY, "").strip()
    if not given.live:
        if given.start:
            raise pytest.UsageError("--contract-start starts an action at Close: it needs --contract-live as well")
        _refuse_loose_parts(given)
        notice = f"{KEY} is set and --contract-live is not given: nothing is sent to Close" if key else None
        return Options(report=report, notice=notice)
    if not key:
        raise pytest.UsageError(f"--contract-live reads Close with the key in {KEY}, which is not set")
    if not given.gap >= 0:
        raise pytest.UsageError("--contract-gap must be seconds")
    try:
        base_url = check_base_url(environ.get(ADDRESS) or BASE_URL, name=ADDRESS)
    except InvalidRequestError as exc:
        raise pytest.UsageError(str(exc)) from None
    if not given.start:
        _refuse_loose_parts(given)
    start = _read_start(given) if given.start else None
    live = Live(key=key, base_url=base_url, gap=given.gap)
    return Options(live=live, start=start, report=report, shows_values=given.values)


def _refuse_loose_parts(given: Given) -> None:
    parts = {
        "--contract-query": given.query,
        "--contract-kind": given.kind,
        "--contract-param": given.parameters or None,
        "--contract-most": given.most,
    }
    if loose := [name for name, value in parts.items() if value is not None]:
        raise pytest.UsageError(f"{', '.join(loose)} is for an action to be started: that needs --contract-start")


def _read_start(given: Given) -> ToStart:
    most = 1 if given.most is None else given.most
    if most < 1:
        raise pytest.UsageError("--contract-most must be at least 1")
    parameters = _read_parameters(given)
    query = _read_query(given)
    try:
        edit = EditStart(**parameters, s_query=query, results_limit=most, send_done_email=False)
    except UnsafeQueryError:
        message = "the query in --contract-query may match every lead: nothing is started with that"
        raise pytest.UsageError(message) from None
    except InvalidRequestError as exc:
        raise pytest.UsageError(str(exc)) from None
    return ToStart(edit=edit, most=most)


def _read_parameters(given: Given) -> dict[str, Any]:
    types = STARTABLE.get(given.kind or "")
    if types is None:
        raise pytest.UsageError(f"--contract-kind must be one of {', '.join(STARTABLE)}: the others cannot be undone")
    pairs = [text.partition("=") for text in given.parameters]
    parameters: dict[str, Any] = {name: value for name, _, value in pairs if value}
    needed = types.get(parameters.get("type", ""))
    if needed is None:
        raise pytest.UsageError(f"--contract-param type=… must be one of {', '.join(types)}")
    if parameters.keys() != {"type", *needed} or len(pairs) != len(parameters):
        raise pytest.UsageError(f"--contract-param must give these, once each: type, {', '.join(needed)}")
    return parameters


def _read_query(given: Given) -> dict[str, object]:
    if given.query is None:
        raise pytest.UsageError("--contract-start needs --contract-query FILE: the s_query that says which leads")
    try:
        query = json.loads(Path(given.query).read_bytes())
    except (OSError, ValueError) as exc:
        raise pytest.UsageError(f"--contract-query cannot be read: {type(exc).__name__}") from None
    if not isinstance(query, dict):
        raise pytest.UsageError("--contract-query must hold a JSON object")
    return query
