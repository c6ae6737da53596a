"""One action that is started, paused and resumed: at the simulator always, at Close with `--contract-start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.wire import PAUSE_METHOD
from tests.contract.guards import VERBS
from tests.schemas import misfits

if TYPE_CHECKING:
    from tests.contract.starting import Started


def test_a_start_is_answered_with_the_action(started: Started) -> None:
    """200, and every field of the schema, which the client gives back."""
    (answer,) = [each for each in started.exchanges if str(each.ask) == "POST /bulk_action/edit/"]
    assert answer.status == 200
    assert misfits(answer.json, "edit") == []
    assert started.action.to_dict().keys() == answer.row.keys()


def test_a_start_is_echoed(started: Started) -> None:
    """What was sent of the query, the type and the cap."""
    (answer,) = [each for each in started.exchanges if str(each.ask) == "POST /bulk_action/edit/"]
    sent = started.action.to_dict()
    for name in ("type", "lead_status_id", "results_limit", "send_done_email"):
        assert answer.row[name] == sent[name], name
    assert answer.row["send_done_email"] is False


def test_an_action_is_paused_as_the_package_does_it(started: Started) -> None:
    """The first verb that was tried is the package's, and the service knows it there."""
    assert VERBS[0] == PAUSE_METHOD
    assert [exchange.ask.method for exchange in started.pauses] == [PAUSE_METHOD]
    assert started.pauses[0].status in (200, 400)  # 400: it had ended already


def test_an_action_that_is_paused_can_be_resumed(started: Started) -> None:
    """Where the pause came in time, it is paused, and goes on."""
    if started.pauses[-1].status == 200:
        assert started.after_pause in ("paused", "processing")
        assert started.resumed.status == 200
        assert started.after_resume in ("resuming", "processing", "done")


def test_an_action_ends(started: Started) -> None:
    """As done."""
    assert started.last.is_done


def test_an_action_that_has_ended_cannot_be_paused(started: Started) -> None:
    """400, with a body that errors have."""
    assert started.late_pause is not None
    assert started.late_pause.status == 400
    assert misfits(started.late_pause.json, "error") == []


def test_nothing_else_was_started(started: Started) -> None:
    """One POST to the list of a kind, and changes of that action only."""
    written = [str(each.ask) for each in started.exchanges if each.ask.method != "GET"]
    assert written.count("POST /bulk_action/edit/") == 1
    assert {*written} <= {
        "POST /data/search/",
        "POST /bulk_action/edit/",
        *(f"{verb} /bulk_action/edit/{{id}}/" for verb in VERBS),
    }
