"""The options of the contract suite, and its report at the end of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.contract.options import Options, add_options, given_options, read_options

if TYPE_CHECKING:
    from tests.contract.survey import Record

OPTIONS = pytest.StashKey[Options]()
RECORDS = pytest.StashKey[dict[str, "Record"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name them."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what does not say plainly what is meant, before any test."""
    config.stash[OPTIONS], config.stash[RECORDS] = read_options(given_options(config), os.environ), {}


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which service is read, and what was not understood as a wish to read it."""
    options = config.stash[OPTIONS]
    if options.live is not None:
        starts = "one action is started there" if options.start else "nothing is started there"
        return [f"contract: {options.live.base_url} is read; {starts}"]
    return [f"contract: {options.notice}"] if options.notice else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the answers to the open questions, and write the report."""
    options, records = config.stash[OPTIONS], config.stash[RECORDS]
    if not records or not (options.live or options.report):
        return
    from tests.contract.report import answers, make_report, summary

    terminalreporter.section("contract")
    for record in records.values():
        terminalreporter.write_line(summary(record))
    for line in answers([*records.values()][-1]):
        terminalreporter.write_line(f"  {line}")
    for record in records.values():
        if record.started is not None and not record.started.last.is_final:
            left = record.started.last
            terminalreporter.write_line(f"LEFT {left.status} at {record.service}: {left.ref}, which the suite started")
    if options.report is not None:
        options.report.write_text(make_report([*records.values()]), encoding="utf-8")
        terminalreporter.write_line(f"the report is in {options.report}")
