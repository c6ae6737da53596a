"""Plain lines and JSON lines of a watch, and what the package logs meanwhile."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import BulkActionFailed, BulkEmail, JobRef, NotFoundError, ServerError, WaitTimeout
from closebulk_async.cli.exits import ExitCode, code_of, worst_of
from closebulk_async.cli.following import Following
from closebulk_async.cli.notes import notes_in
from closebulk_async.cli.views import JsonLines, Lines, choose_view

from .steps import REF, make_step

if TYPE_CHECKING:
    from closebulk_async import CloseBulkError

BAD_GATEWAY = ServerError(status=502, request="GET /x/")
ITS_LINE = "closebulk: email:bulkemail_example: a poll failed, going on: GET /x/ was answered with 502 Bad Gateway"


def same_again() -> ServerError:
    """The error of the next poll, which says the same."""
    return ServerError(status=502, request="GET /x/")


def test_steps_without_news_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is printed for a step that moved, and none for one that only tells that nothing did."""
    with Lines() as view:
        view.show(make_step())
        view.show(make_step(changed=False))
    assert capsys.readouterr() == ("email:bulkemail_example: processing, 40 of 100 (40%), 8.0/s, 8s left\n", "")


def test_an_outage_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Failed polls that say the same are one line, until the action moves: then the next failure is news again."""
    view = Lines()
    view.show(make_step(last_error=same_again()))  # from before the first step: the log has told it
    capsys.readouterr()
    for error in (BAD_GATEWAY, BAD_GATEWAY, same_again(), same_again()):
        view.show(make_step(changed=False, last_error=error))
    assert capsys.readouterr() == ("", f"{ITS_LINE}\n")
    last = same_again()
    view.show(make_step(changed=False, last_error=last))
    view.show(make_step(last_error=last))  # the old error, which later steps carry along
    assert capsys.readouterr().err == ""
    view.show(make_step(changed=False, last_error=same_again()))
    assert capsys.readouterr().err == f"{ITS_LINE}\n"
    view.show(make_step(changed=False, last_error=ServerError(status=503, request="GET /x/")))
    assert "503 Service Unavailable" in capsys.readouterr().err


def test_failures_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure names its ref once, whether its own message does or not."""
    view = Lines()
    view.fail(REF, WaitTimeout("still running", ref=REF))
    view.fail(REF, NotFoundError(status=404, request="GET /x/"))
    view.note("odd \x1b[31m thing")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "closebulk: email:bulkemail_example: still running",
        "closebulk: email:bulkemail_example: GET /x/ was answered with 404 Not Found",
        "closebulk: odd ?[31m thing",
    ]


def test_json_steps_are_those_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """A step is printed as `Progress.to_dict()`, if it moved or a poll failed."""
    steps = [make_step(), make_step(changed=False), make_step(changed=False, last_error=BAD_GATEWAY)]
    view = JsonLines()
    for step in steps:
        view.show(step)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [steps[0].to_dict(), steps[2].to_dict()]
    assert err == ""


def test_json_of_a_failed_action_ends_with_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A failed action's last step has the error already: it is not printed twice."""
    view = JsonLines()
    last = make_step(BulkEmail.example(status="error"))
    error = BulkActionFailed("the action failed", ref=REF, progress=last)
    view.show(attrs.evolve(last, error=error))
    view.fail(REF, error)
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert json.loads(line)["error"] == "email:bulkemail_example: the action failed"
    assert err == "closebulk: email:bulkemail_example: the action failed\n"


def test_json_of_a_timeout_is_the_last_step_with_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the action still runs, the last step comes again, with the error."""
    error = WaitTimeout("still running", ref=REF, progress=make_step())
    JsonLines().fail(REF, error)
    found = json.loads(capsys.readouterr().out)
    assert found == {**make_step().to_dict(), "error": "email:bulkemail_example: still running"}


@pytest.mark.parametrize("error", [NotFoundError(status=404, request="GET /x/"), WaitTimeout("unread", ref=REF)])
def test_json_without_any_step_is_ref_and_error(error: CloseBulkError, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was ever read, the object has the ref and the error only."""
    JsonLines().fail(REF, error)
    assert json.loads(capsys.readouterr().out) == {"ref": "email:bulkemail_example", "error": str(error)}


def test_views_without_a_terminal() -> None:
    """The tests' own standard output is captured and no terminal: the views for it print lines."""
    assert type(choose_view([REF], as_json=False)) is Lines
    assert type(choose_view([REF], as_json=True)) is JsonLines


def test_warnings_of_the_package_are_notes(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings are shown, each text once; information only as long as some action was never read."""
    logger = logging.getLogger("closebulk_async")
    unanswered: set[JobRef[Any]] = {REF}
    level, handlers = logger.level, list(logger.handlers)
    with notes_in(Lines(), unanswered=unanswered):
        logger.debug("never")
        logger.info("poll of %s failed", REF)
        logger.info("poll of %s failed", REF)
        unanswered.clear()
        logger.info("poll of %s failed otherwise", REF)
        logger.warning("an odd status")
    assert capsys.readouterr().err == ("closebulk: poll of email:bulkemail_example failed\nclosebulk: an odd status\n")
    assert (logger.level, logger.handlers) == (level, handlers)


def test_an_interrupted_watch_of_what_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """Between the last end and its own, a watch can be interrupted too: then there is nothing to go on with."""
    assert Following([REF], codes={REF: ExitCode.DONE}).explain(ExitCode.INTERRUPTED) is ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "closebulk: interrupted; every action had ended\n"


def test_the_worst_of_several_codes() -> None:
    """Failed is worse than still running, and that is worse than done, in whatever order they come."""
    assert worst_of([ExitCode.DONE, ExitCode.DONE]) is ExitCode.DONE
    assert worst_of([ExitCode.TIMED_OUT, ExitCode.DONE]) is ExitCode.TIMED_OUT
    assert worst_of([ExitCode.TIMED_OUT, ExitCode.FAILED, ExitCode.DONE]) is ExitCode.FAILED
    assert worst_of([]) is ExitCode.DONE
    assert worst_of([ExitCode.FAILED, ExitCode.UNKNOWN, ExitCode.DONE]) is ExitCode.UNKNOWN
    assert code_of(BAD_GATEWAY) is ExitCode.FAILED
