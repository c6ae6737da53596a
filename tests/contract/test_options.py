"""What may be asked of the suite, and what is refused before anything is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.oauth_wire import BASE_URL
from tests.contract.options import GAP, Given, Options, read_options

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"CLOSE_CONTRACT_KEY": "api_key"}
ONE_LEAD = {"type": "id", "value": "lead_1"}
PARAMETERS = ("type=set_lead_status", "lead_status_id=stat_1")


@pytest.fixture
def query(tmp_path: Path) -> Path:
    """A file that holds a query for one lead."""
    path = tmp_path / "query.json"
    path.write_text(json.dumps(ONE_LEAD))
    return path


def refusal(environ: dict[str, str] = KEY, **given: Any) -> str:
    """Why these options are no way to run the suite."""
    with pytest.raises(pytest.UsageError) as caught:
        read_options(Given(**given), environ)
    return str(caught.value)


def test_without_options_nothing_but_the_simulator_is_read() -> None:
    """And there is nothing to say about it."""
    assert read_options(Given(), {}) == Options()


def test_a_key_alone_reads_nothing() -> None:
    """It says which flag is missing."""
    options = read_options(Given(), KEY)
    assert options.live is None
    assert options.notice == "CLOSE_CONTRACT_KEY is set and --contract-live is not given: nothing is sent to Close"


def test_the_flag_alone_is_refused() -> None:
    """It says which variable is missing; blanks are no key."""
    for environ in ({}, {"CLOSE_CONTRACT_KEY": " "}):
        assert "CLOSE_CONTRACT_KEY, which is not set" in refusal(environ, live=True)


def test_both_read_close() -> None:
    """At the package's own address unless another is given, and starting nothing; the key is in no repr."""
    options = read_options(Given(live=True), KEY)
    assert options.live is not None
    assert (options.live.base_url, options.live.gap, options.start) == (BASE_URL, GAP, None)
    assert "api_key" not in repr(options)
    other = read_options(Given(live=True), KEY | {"CLOSE_CONTRACT_BASE_URL": "http://127.0.0.1:1/api/v1/"})
    assert other.live is not None
    assert other.live.base_url == "http://127.0.0.1:1/api/v1"


def test_a_key_goes_to_no_other_machine_in_the_clear() -> None:
    """The address is judged as that of a client."""
    assert "not encrypted" in refusal(KEY | {"CLOSE_CONTRACT_BASE_URL": "http://example.com/api/v1"}, live=True)
    assert "seconds" in refusal(live=True, gap=-1.0)


@pytest.mark.parametrize("what", [{"live": True}, {"report": "report.md"}], ids=str)
def test_several_processes_are_refused(what: dict[str, Any]) -> None:
    """Each would read the service by itself, at the same time, and none would know what to report."""
    assert "add --numprocesses 0" in refusal(processes=2, **what)
    assert read_options(Given(processes=2), {}) == Options()


def test_a_start_has_all_it_needs(query: Path) -> None:
    """Kind, parameters and query; it acts on one lead at the most, and mails nobody."""
    given = Given(live=True, start=True, query=str(query), kind="edit", parameters=PARAMETERS)
    start = read_options(given, KEY).start
    assert start is not None
    assert start.most == 1
    assert start.edit.body() == {
        "type": "set_lead_status",
        "lead_status_id": "stat_1",
        "s_query": ONE_LEAD,
        "results_limit": 1,
        "send_done_email": False,
    }
    assert "lead_1" not in repr(start)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"live": False}, "needs --contract-live"),
        ({"query": None}, "needs --contract-query"),
        ({"query": "no_such_file.json"}, "cannot be read"),
        ({"kind": None}, "--contract-kind must be one of edit"),
        ({"kind": "delete"}, "--contract-kind must be one of edit"),
        ({"kind": "email"}, "--contract-kind must be one of edit"),
        ({"parameters": ()}, "type=… must be one of set_lead_status"),
        ({"parameters": ("type=clear_custom_field", "custom_field_id=cf_1")}, "must be one of set_lead_status"),
        ({"parameters": PARAMETERS[:1]}, "once each: type, lead_status_id"),
        ({"parameters": (*PARAMETERS, "results_limit=9")}, "once each: type, lead_status_id"),
        ({"parameters": (*PARAMETERS, "lead_status_id=stat_2")}, "once each: type, lead_status_id"),
        ({"parameters": ("type=set_lead_status", "lead_status_id= ")}, "lead_status_id must be a text"),
        ({"most": 0}, "at least 1"),
    ],
)
def test_a_start_that_says_too_little_is_refused(query: Path, changes: dict[str, object], text: str) -> None:
    """Each time it says what is missing."""
    given: dict[str, Any] = {"live": True, "start": True, "query": str(query), "kind": "edit", "parameters": PARAMETERS}
    assert text in refusal(**given | changes)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"type": "object_type", "object_type": "lead"},
        {"type": "or", "queries": [ONE_LEAD, {"type": "object_type", "object_type": "lead"}]},
        {"type": "text", "value": "*"},
        {"query": ONE_LEAD},
    ],
)
def test_a_query_that_may_match_everything_is_refused(tmp_path: Path, query: object) -> None:
    """By the guard of the package."""
    path = tmp_path / "query.json"
    path.write_text(json.dumps(query))
    text = refusal(live=True, start=True, query=str(path), kind="edit", parameters=PARAMETERS)
    assert "may match every lead" in text


@pytest.mark.parametrize("text", ["[]", "null", "no json"])
def test_a_query_is_a_json_object(tmp_path: Path, text: str) -> None:
    """A list, null and half a file are none."""
    path = tmp_path / "query.json"
    path.write_text(text)
    said = refusal(live=True, start=True, query=str(path), kind="edit", parameters=PARAMETERS)
    assert "JSON object" in said or "cannot be read" in said


@pytest.mark.parametrize(
    "loose", [{"query": "query.json"}, {"kind": "edit"}, {"parameters": PARAMETERS}, {"most": 1}], ids=str
)
@pytest.mark.parametrize("live", [True, False])
def test_parts_of_a_start_need_its_flag(loose: dict[str, Any], live: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A query without `--contract-start` is no wish to start."""
    assert "needs --contract-start" in refusal(live=live, **loose)
