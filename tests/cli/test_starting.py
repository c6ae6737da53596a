"""`closebulk start`: what it shows, asks, refuses, sends and prints."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.cli import main
from closebulk_async.cli.starting import in_options
from closebulk_async.simulator import faults
from tests.peers import ACME

from .programs import COMMAND, DEVNULL, PIPE, finish, for_simulator, read_until, run, running
from .starts import DELETE, EMAIL, QUERY, start, starts

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock

SENDER = {"sender_account_id": "emailacct_1", "sender_name": "Ada", "sender_email": "ada@example.com"}


def options(**values: str | None) -> list[str]:
    """Options as they are typed; None for one that has no value."""
    typed = ((f"--{name.replace('_', '-')}", value) for name, value in values.items())
    return [word for option in typed for word in option if word is not None]


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        (["email", *options(template_id="t", email_account_id="e")], {"template_id": "t", "email_account_id": "e"}),
        (
            ["email", *options(template_id="t", email_account_id="e", sender="a@b.c", contact_preference="contact")],
            {"template_id": "t", "email_account_id": "e", "sender": "a@b.c", "contact_preference": "contact"},
        ),
        (["delete"], {}),
        (["delete", "--bulk-object-type", "contact"], {"bulk_object_type": "contact"}),
        (
            ["edit", *options(type="set_lead_status", lead_status_id="stat_1")],
            {"type": "set_lead_status", "lead_status_id": "stat_1"},
        ),
        (
            ["edit", *options(type="clear_custom_field", custom_field_name="A b")],
            {"type": "clear_custom_field", "custom_field_name": "A b"},
        ),
        (
            ["edit", *options(type="set_custom_field", custom_field_id="cf_1", custom_field_value="5")],
            {"type": "set_custom_field", "custom_field_id": "cf_1", "custom_field_value": "5"},
        ),
        (
            [
                "edit",
                *options(type="set_custom_field", custom_field_id="cf_1", custom_field_value="5", json_values=None),
            ],
            {"type": "set_custom_field", "custom_field_id": "cf_1", "custom_field_value": 5},
        ),
        (
            [
                *("edit", "--custom-field-values", "a", "--custom-field-values", "b"),
                *options(type="set_custom_field", custom_field_id="cf_1", custom_field_operation="add"),
            ],
            {
                "type": "set_custom_field",
                "custom_field_id": "cf_1",
                "custom_field_values": ["a", "b"],
                "custom_field_operation": "add",
            },
        ),
        (
            [
                *("edit", "--custom-field-values", "1", "--custom-field-values", '"b"', "--json-values"),
                *options(type="set_custom_field", custom_field_id="cf_1"),
            ],
            {"type": "set_custom_field", "custom_field_id": "cf_1", "custom_field_values": [1, "b"]},
        ),
        (
            [
                *("sequence", "--calls-assigned-to", "user_1", "--calls-assigned-to", "user_2"),
                *options(action_type="subscribe", sequence_id="seq_1", contact_preference="lead", **SENDER),
                *options(from_phone_number_id="phon_1"),
            ],
            {
                "action_type": "subscribe",
                "sequence_id": "seq_1",
                "contact_preference": "lead",
                **SENDER,
                "calls_assigned_to": ["user_1", "user_2"],
                "from_phone_number_id": "phon_1",
            },
        ),
        (["sequence", *options(action_type="pause", all_sequences=None)], {"action_type": "pause"}),
        (
            ["delete", "--results-limit", "5", "--no-done-email", "--sort", "[]", "--extra", '{"new": 1}'],
            {"results_limit": 5, "send_done_email": False, "sort": [], "new": 1},
        ),
    ],
)
async def test_what_is_typed_is_what_is_sent(
    sim: Simulator, closebulk: Closebulk, typed: list[str], body: dict[str, Any]
) -> None:
    """Every keyword of a kind has an option; what is not typed is not sent."""
    done = await closebulk("start", *typed, "--query", QUERY, "--yes")
    assert done.code == 0
    (request,) = starts(sim)
    assert request.json() == {"s_query": ACME, **body}
    assert done.lines == [f"{request.path.split('/')[-2]}:{sim.jobs[0].id}"]


async def test_a_start_in_a_script(sim: Simulator, closebulk: Closebulk) -> None:
    """Standard output is the ref alone; what is done, to how many, and how to watch it are on standard error."""
    sim.matches = 1234
    done = await closebulk(*DELETE, "--yes")
    ref = f"delete:{sim.jobs[0].id}"
    assert (done.code, done.out) == (0, f"{ref}\n")
    shown = done.err.splitlines()
    assert shown[0] == "Delete about 1 234 leads"
    assert shown[3] == "POST /bulk_action/delete/"
    assert json.loads("\n".join(shown[4:-1])) == {"s_query": ACME}
    assert shown[-1] == f"closebulk: started; to watch it: closebulk watch {ref}"


async def test_a_start_as_json(sim: Simulator, clock: StillClock, closebulk: Closebulk) -> None:
    """With --json standard output is the action as the service's own object."""
    done = await closebulk(*DELETE, "--yes", "--json")
    assert done.code == 0
    ref = f"delete:{sim.jobs[0].id}"
    assert json.loads(done.out) == {"kind": "delete", "ref": ref} | sim.jobs[0].snapshot(clock.now())


async def test_a_dry_run_sends_only_the_count(sim: Simulator, closebulk: Closebulk) -> None:
    """--dry-run prints what would be sent and needs neither an answer nor --yes; with --json as an object."""
    sim.matches = 12
    shown = await closebulk(*DELETE, "--dry-run")
    assert (shown.code, shown.err, shown.lines[0]) == (0, "", "Delete about 12 leads")
    as_json = await closebulk(*DELETE, "--dry-run", "--json")
    preview = json.loads(as_json.out)
    assert shown.lines[1] == 'matches leads whose name has the words "ACME"'
    assert shown.lines[2] == f"fingerprint {preview.pop('fingerprint')}"
    assert shown.lines[1] == f"matches {preview.pop('matches')}"
    assert preview == {"kind": "delete", "count": 12, "request": {"s_query": ACME}}
    assert {request.path for request in sim.requests} == {"/api/v1/data/search/"}


async def test_where_queries_come_from(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """A query may stand in a file, with the mark of Windows' editors or without, or come through standard input."""
    file = tmp_path / "leads.json"
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_text(QUERY, encoding=encoding)
        assert (await closebulk("start", "delete", "--query", str(file), "--yes")).code == 0
    assert (await run("start", "delete", "--query", "-", "--yes", env=for_simulator(sim), typed=QUERY)).code == 0
    assert [request.json() for request in starts(sim)] == [{"s_query": ACME}] * 3


async def test_a_legacy_query_is_not_counted(sim: Simulator, closebulk: Closebulk) -> None:
    """A query in the old search language is sent as it is, and it is said that nobody can count it."""
    done = await closebulk("start", "delete", "--legacy-query", "lead_status:Potential", "--yes")
    assert done.code == 0
    assert done.err.startswith("Delete an unknown number of leads (Close cannot count a legacy query)\n")
    assert starts(sim)[0].json() == {"query": "lead_status:Potential"}
    assert not [request for request in sim.requests if "search" in request.path]


async def test_watching_a_start(sim: Simulator, clock: StillClock) -> None:
    """With --watch the action is shown to its end, after what was started."""
    sim.next_job(duration=1000, n_objects=100, counting=0.0)
    async with running(*DELETE, "--yes", "--watch", env=for_simulator(sim)) as process:
        said = await read_until(process, "started", stream="stderr")
        assert (await read_until(process, ": ")).endswith(": processing, 0 of 100 (0%)")
        clock.move(1000)
        done = await finish(process)
    ref = f"delete:{sim.jobs[0].id}"
    assert said == f"closebulk: started {ref}"
    assert (done.code, done.out, done.err) == (0, f"{ref}: done, 100 of 100 (100%)\n", "")


async def test_watching_a_start_ends_as_watch_does(sim: Simulator, closebulk: Closebulk) -> None:
    """--timeout stops watching with the code 3, a failed action gives 1; with --json the action comes first."""
    sim.next_job(duration=1000)
    late = await closebulk(*DELETE, "--yes", "--watch", "--timeout", "0.3", "--json")
    ref = f"delete:{sim.jobs[0].id}"
    assert late.code == 3
    assert late.err.splitlines()[-1] == f"closebulk: to go on watching: closebulk watch {ref}"
    first, *steps = map(json.loads, late.lines)
    assert (first["ref"], first["id"]) == (ref, sim.jobs[0].id)
    assert {step["ref"] for step in steps} == {ref}
    assert "still running" in steps[-1]["error"]
    sim.next_job(duration=0, ends="error")
    assert (await closebulk(*DELETE, "--yes", "--watch")).code == 1


async def test_an_interrupted_watch_of_a_start(sim: Simulator) -> None:
    """Ctrl-C after the start is that of a watch: it says how to go on."""
    sim.next_job(duration=1000)
    async with running(*DELETE, "--yes", "--watch", env=for_simulator(sim)) as process:
        await read_until(process, "delete:")
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    command = f"closebulk watch delete:{sim.jobs[0].id}"
    assert done.code == 130
    assert done.err.splitlines()[-1] == f"closebulk: interrupted; the job goes on, watch it with: {command}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("start", "call"), "No such command 'call'"),
        (("start", "delete", "--yes"), "pass --allow-all if every lead is really meant"),
        (("start", "delete", "--yes", "--query", "{}"), "pass --allow-all"),
        (("start", "delete", "--yes", "--legacy-query", "*"), "pass --allow-all"),
        (("start", "delete", "--yes", "--query", "{]"), "--query is no JSON: "),
        (("start", "delete", "--yes", "--query", "[1]"), "--query must be a JSON object"),
        (("start", "delete", "--yes", "--query", "nowhere.json"), "cannot be read: nowhere.json: No such file"),
        (("start", "delete", "--yes", "--query", "."), "cannot be read: .: Is a directory"),
        ((*DELETE, "--yes", "--sort", "{}"), "--sort must be a JSON list"),
        ((*DELETE, "--yes", "--extra", "[]"), "--extra must be a JSON object"),
        ((*DELETE, "--yes", "--extra", '{"s_query": {}}'), "extra holds --query, which have keywords of their own"),
        ((*DELETE, "--yes", "--max-matches", "-1"), "--max-matches"),
        ((*DELETE, "--yes", "--results-limit", "0"), "--results-limit"),
        ((*DELETE, "--yes", "--on-ambiguous", "guess"), "--on-ambiguous must be one of reconcile, raise, resend"),
        ((*DELETE, "--yes", "--request-timeout", "-1"), "--request-timeout must be"),
        ((*DELETE, "--yes", "--timeout", "5"), "--timeout is for --watch"),
        ((*DELETE, "--yes", "--watch", "--timeout", "-1"), "--timeout must be"),
        ((*DELETE, "--yes", "--journal", "."), "--journal"),
        ((*DELETE, "--yes", "--idempotency-key", "k"), "--idempotency-key needs a journal, which remembers the key: "),
        (("start", "email", "--yes", "--query", QUERY, "--template-id", "t"), "Missing option '--email-account-id'"),
        (("start", "edit", "--yes", "--query", QUERY), "Missing option '--type'"),
        (("start", "edit", "--yes", "--query", QUERY, "--type", "paint"), "'paint' is not one of 'set_lead_status'"),
        (("start", "edit", "--yes", "--query", QUERY, "--type", "set_lead_status"), "--lead-status-id is missing"),
        (
            (
                *("start", "edit", "--yes", "--query", QUERY, "--json-values"),
                *options(type="set_custom_field", custom_field_id="cf_1", custom_field_value="x"),
            ),
            "--custom-field-value is no JSON",
        ),
        (
            ("start", "sequence", "--yes", "--query", QUERY, "--action-type", "pause"),
            "name one, or pass --all-sequences",
        ),
    ],
)
async def test_what_cannot_be_started_is_one_line(
    sim: Simulator, closebulk: Closebulk, arguments: tuple[str, ...], said: str
) -> None:
    """What is refused before anything is sent exits with 2 and says why in the words of the command line."""
    refused = await closebulk(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("closebulk: ")
    assert len(refused.err.splitlines()) == 1
    assert said in refused.err
    assert sim.requests == ()


def test_words_that_are_no_options_stay() -> None:
    """Only names of keywords become options, and not inside of other names or of quotes."""
    assert in_options("allow_all=True, s_query, x.sequence_id, 'template_id', my_sequence_id, query") == (
        "--allow-all, --query, x.sequence_id, 'template_id', my_sequence_id, query"
    )


@pytest.mark.parametrize("flags", [["--yes"], ["--dry-run"]])
async def test_too_many_matches(sim: Simulator, closebulk: Closebulk, flags: list[str]) -> None:
    """--max-matches is judged before the question, in a dry run as well."""
    sim.matches = 1001
    refused = await closebulk(*DELETE, "--max-matches", "1000", *flags)
    assert refused.code == 2
    assert refused.err.splitlines()[-1] == (
        "closebulk: the query matches about 1 001 leads, and --max-matches allows 1 000: nothing was started"
    )
    assert starts(sim) == []
    sim.matches = 1000
    assert (await closebulk(*DELETE, "--max-matches", "1000", *flags)).code == 0


async def test_more_matches_than_were_shown(sim: Simulator, closebulk: Closebulk) -> None:
    """What comes to match between the question and the start counts as well."""
    counts = iter([5, 6])
    sim.matches = lambda _: next(counts)
    refused = await closebulk(*DELETE, "--max-matches", "5", "--yes")
    assert (refused.code, refused.out, starts(sim)) == (2, "", [])
    assert "the query matches 6 leads, and --max-matches allows 5" in refused.err.splitlines()[-1]


async def test_max_matches_of_a_legacy_query(sim: Simulator, closebulk: Closebulk) -> None:
    """What cannot be counted cannot be bounded."""
    refused = await closebulk("start", "delete", "--legacy-query", "x", "--max-matches", "5", "--yes")
    assert (refused.code, starts(sim)) == (2, [])
    assert refused.err.splitlines()[-1].startswith("closebulk: --max-matches needs a count")


async def test_a_key_starts_once(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """The same start with the same key prints the first ref again; another one with that key is refused."""
    journal = tmp_path / "closebulk.db"
    keyed = ("--idempotency-key", "campaign", "--journal", str(journal), "--yes")
    first, second = await closebulk(*EMAIL, *keyed), await closebulk(*EMAIL, *keyed)
    assert (first.code, second.code, second.out) == (0, 0, first.out)
    assert len(sim.jobs) == 1
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    other = await closebulk(*EMAIL, *keyed, "--results-limit", "5")
    assert (other.code, other.out, len(sim.jobs)) == (2, "", 1)
    assert "'campaign' belongs to another request" in other.err.splitlines()[-1]


async def test_the_journal_of_the_environment(
    sim: Simulator, closebulk: Closebulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLOSEBULK_JOURNAL stands for --journal: a key of another process is known."""
    journal = tmp_path / "closebulk.db"
    ref = await start(sim, journal, key="campaign")
    monkeypatch.setenv("CLOSEBULK_JOURNAL", str(journal))
    done = await closebulk(*EMAIL, "--idempotency-key", "campaign", "--yes")
    assert (done.code, done.out, len(sim.jobs)) == (0, f"{ref}\n", 1)


async def test_errors_before_the_start(sim: Simulator, closebulk: Closebulk) -> None:
    """A count that fails ends the command before the question."""
    sim.fail_next(faults.reply(403, "Forbidden"), path="/data/search/")
    refused = await closebulk(*DELETE, "--yes")
    assert (refused.code, refused.out, starts(sim)) == (1, "", [])
    assert refused.err.startswith("closebulk: POST /data/search/ was answered with 403 Forbidden")


async def test_a_ref_that_nobody_reads(sim: Simulator) -> None:
    """Where standard output is closed, the ref is on standard error all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *DELETE, "--yes", env=for_simulator(sim), stdin=DEVNULL, stdout=writing, stderr=PIPE
    )
    os.close(writing)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().splitlines()[-1].endswith(f"closebulk watch delete:{sim.jobs[0].id}")


def test_help_names_the_options_of_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of a kind has its own options and those of all."""
    assert main(["start", "email", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--template-id ID", "--query FILE|-|JSON", "--allow-all", "--json"))
    assert "--lead-status-id" not in shown
