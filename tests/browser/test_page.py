"""What a person sees: bars that move, ends, filters, the detail of one action, and what goes wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.async_api import expect

from closebulk_async.models import Kind
from closebulk_async.simulator import Limits, Plan, faults

from .scenes import staging

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

    from .scenes import Scene

NAMED = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
    "condition": {"type": "text", "mode": "full_words", "value": "ACME Inc."},
}


def row(page: Page, ref: object) -> Locator:
    """The line of an action, in whichever list."""
    return page.locator(f'[id="row-{ref}"]')


async def test_bars_move_and_an_action_that_ends_goes_to_the_others_that_have(scene: Scene) -> None:
    """Percentage, counts, rate and time left, as the polls tell; then the end, in the other list."""
    ref = scene.run_job(duration=100, counting=0, n_objects=1000)
    await scene.serve()
    page = await scene.show()
    line = row(page, ref)
    await expect(page.locator("#running").locator(line)).to_be_visible()
    await expect(line.locator(".badge")).to_have_text("processing")
    await scene.pass_time(30)
    await expect(line.locator(".share")).to_have_text("30%")
    await expect(line.locator(".counts")).to_have_text("300 of 1\u202f000")
    await expect(line.locator(".rate")).to_have_text("10.0/s")
    await expect(line.locator(".eta")).to_have_text(re.compile(r"1m \d\ds left"))
    await expect(line.locator(".bar")).to_have_attribute("aria-valuenow", "30")
    await expect(page.locator("#n-left")).to_have_text("700")
    await scene.pass_time(71)
    await expect(page.locator("#recent").locator(line)).to_be_visible()
    await expect(line.locator(".badge")).to_have_text("done")
    await expect(line.locator(".share")).to_have_text("100%")
    await expect(page.locator("#running-empty")).to_have_text("Nothing runs right now.")
    await expect(page.locator("#n-running")).to_have_text("0")


async def test_throughput_is_drawn_for_each_that_runs_and_for_all(scene: Scene) -> None:
    """A chart in the line, and one of all actions together with what it shows in words."""
    ref = scene.run_job(duration=100, counting=0, n_objects=1000)
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(20)
    await expect(row(page, ref).locator(".spark canvas")).to_have_count(1)
    await expect(page.locator("#total-chart canvas")).to_have_count(1)
    await expect(page.locator("#total-chart")).to_have_attribute("aria-label", re.compile(r"^At most 1\d\.\d/s within"))


async def test_what_ended_before_is_there_from_the_start(scene: Scene) -> None:
    """Newest end first, failures and exports among them."""
    old = scene.add_job(Kind.DELETE, status="done", age=7200, n_objects=5, n_objects_processed=5)
    new = scene.add_job(Kind.EDIT, status="error", age=60)
    export = scene.sim.add_export(rows=3, age=600)
    await scene.serve()
    page = await scene.show()
    await expect(page.locator("#recent .row")).to_have_count(3)
    await expect(row(page, f"edit:{new.id}").locator(".badge")).to_have_text("error")
    await expect(row(page, f"delete:{old.id}").locator(".counts")).to_have_text("5 of 5")
    await expect(row(page, f"export:{export.id}").locator(".badge")).to_have_text("done")


async def test_what_begins_later_appears(scene: Scene) -> None:
    """Actions and exports that somebody else starts are found by themselves."""
    await scene.serve()
    page = await scene.show()
    await expect(page.locator("#running-empty")).to_have_text("Nothing runs right now.")
    ref = scene.run_job(Kind.DELETE, duration=500)
    export = scene.sim.add_export(rows=3, duration=500)
    await scene.pass_time(90)
    await expect(row(page, ref)).to_be_visible()
    await expect(row(page, f"export:{export.id}")).to_be_visible()


async def test_filters_by_kind_status_and_text(scene: Scene) -> None:
    """Each narrows what is shown, with the numbers of all; none of them hides an empty list without a word."""
    email, delete = scene.run_job(duration=500), scene.run_job(Kind.DELETE, duration=500)
    paused = scene.add_job(Kind.EDIT, status="paused", date_updated=scene.clock.now())
    done = scene.add_job(Kind.EMAIL, status="done", age=60)
    await scene.serve()
    page = await scene.show()
    await expect(page.locator(".row:visible")).to_have_count(4)
    kinds, phases = page.locator("#kinds"), page.locator("#phases")
    await expect(kinds.get_by_role("button", name="email 2")).to_have_attribute("aria-pressed", "false")
    await kinds.get_by_role("button", name="email").click()
    await expect(page.locator(".row:visible")).to_have_count(2)
    await expect(row(page, delete)).to_be_hidden()
    await phases.get_by_role("button", name="done").click()
    await expect(row(page, f"email:{done.id}")).to_be_visible()
    await expect(row(page, email)).to_be_hidden()
    await expect(page.locator("#running-empty")).to_have_text("No action passes the filters.")
    await kinds.get_by_role("button", name="email").click()
    await phases.get_by_role("button", name="done").click()
    await phases.get_by_role("button", name="paused").click()
    await expect(page.locator(".row:visible")).to_have_count(1)
    await expect(row(page, f"edit:{paused.id}")).to_be_visible()
    await phases.get_by_role("button", name="paused").click()
    await page.get_by_label("Find by id or label").fill(delete.id[-10:].upper())
    await expect(page.locator(".row:visible")).to_have_count(1)
    await expect(page.locator("#running-count")).to_have_text("1 of 3")


async def test_the_detail_of_one_action(scene: Scene) -> None:
    """Query in words and as JSON, counts, statuses with their times, the last error; live, and named by the address."""
    job = scene.add_job(plan=Plan(duration=100, counting=4, n_objects=100), s_query=NAMED)
    ref = f"email:{job.id}"
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(10)
    await row(page, ref).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await expect(page).to_have_url(f"{scene.url}#/{ref}")
    await expect(dialog.locator("#detail-words")).to_contain_text("ACME Inc.")
    await dialog.get_by_text("The query as JSON").click()
    await expect(dialog.locator("#detail-query")).to_contain_text('"full_words"')
    await expect(dialog.locator("#detail-timeline li")).to_have_text(
        [re.compile("^created"), re.compile("^loading"), re.compile("^processing")]
    )
    await expect(dialog.locator("#detail-facts")).to_contain_text("6 of 100")
    scene.sim.fail_next(faults.server_error(503), times=None, path="/bulk_action/email/")
    await scene.pass_time(20)
    await expect(dialog.locator("#detail-facts")).to_contain_text("503")
    await expect(row(page, ref).locator(".problem")).to_contain_text("503")
    scene.sim.clear_faults()
    await scene.pass_time(30)
    await expect(row(page, ref).locator(".problem")).to_be_hidden()
    await expect(dialog.locator("#detail-facts")).to_contain_text("503")
    await scene.pass_time(60)
    await expect(dialog.locator("#detail-status")).to_have_text("done")
    await expect(dialog.locator("#detail-timeline li")).to_have_count(4)
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(page).to_have_url(scene.url)
    await page.go_back()
    await expect(dialog).to_be_visible()


async def test_an_address_with_a_ref_opens_its_detail(scene: Scene) -> None:
    """A link to one action can be sent to somebody; one to nothing says so."""
    ref = scene.run_job(duration=100)
    await scene.serve()
    page = await scene.show(f"#/{ref}")
    await expect(page.get_by_role("dialog").locator("#detail-status")).to_have_text(re.compile("created|processing"))
    other = await scene.show("#/email:bulkemail_nobody")
    await expect(other.locator("#detail-error")).to_contain_text("bulkemail_nobody/ was answered with 404")


async def test_an_outage_of_close_is_said_and_taken_back(scene: Scene) -> None:
    """Since when, and that the jobs go on; rows stay as they were last seen."""
    ref = scene.run_job(duration=4000, n_objects=1000)
    await scene.serve()
    page = await scene.show()
    scene.sim.fail_next(faults.server_error(503), times=None)
    await scene.pass_time(120)
    await expect(page.locator("#trouble")).to_contain_text("Close cannot be read")
    await expect(page.locator("#trouble")).to_contain_text("the jobs go on at Close")
    await expect(page.locator("#close-state")).to_have_text("Close: does not answer")
    await expect(row(page, ref)).to_be_visible()
    scene.sim.clear_faults()
    await scene.pass_time(180)
    await expect(page.locator("#close-state")).to_have_text("Close: answers")
    await expect(page.locator("#trouble")).to_be_hidden()


async def test_the_detail_of_nothing_shows_nothing_of_another(browser: Browser) -> None:
    """Neither the status nor the buttons of the action that was looked at before."""
    async with staging(browser, allow_control=True) as scene:
        ref = scene.run_job(duration=400, n_objects=100)
        await scene.serve()
        page = await scene.show(f"#/{ref}")
        await expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
        await page.goto(f"{scene.url}#/edit:bulkedit_nobody")
        await expect(page.locator("#detail-error")).to_contain_text("404")
        await expect(page.locator("#controls")).to_be_hidden()
        await expect(page.locator("#detail-status")).to_be_empty()
        await expect(page.locator("#detail-share")).to_be_empty()


async def test_an_address_that_is_mistyped_harms_nothing(scene: Scene) -> None:
    """The page is there, and its buttons do what they do."""
    await scene.serve()
    page = await scene.show("#/%zz")
    await page.keyboard.press("Escape")
    await page.locator("#theme").click()
    await expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: light")
    assert not [complaint for complaint in scene.complaints if "URI" in complaint]


async def test_kinds_that_may_not_be_read_are_named(scene: Scene) -> None:
    """Else nobody would know that something is missing."""
    scene.sim.fail_next(faults.forbidden(), times=None, path="/sequence_subscription/")
    await scene.serve()
    page = await scene.show()
    await expect(page.locator("#forbidden")).to_have_text(
        "This key may not read sequence: what runs of that is not shown."
    )


async def test_a_limit_whose_window_is_unknown_is_not_taken_for_full(scene: Scene) -> None:
    """What the latest answer said is shown, and for how long a 429 stops a group."""
    limit = (("ratelimit", "limit=100, remaining=3"),)
    scene.sim.fail_next(faults.reply(200, '{"data": [], "has_more": false}', headers=limit), times=None, path="/edit/")
    scene.sim.fail_next(faults.too_many_requests(retry_after=100), times=None, path="/delete/")
    await scene.serve()
    await scene.pass_time(3)
    page = await scene.open()
    await expect(page.locator("#budget")).to_contain_text("3 of 100 requests left")
    await expect(page.locator("#budget")).to_contain_text("stopped by a 429 for 1m")


async def test_budgets_are_shown(scene: Scene) -> None:
    """A line for each endpoint group of which answers have named the limit."""
    scene.sim.limits = Limits(rate=20)
    scene.run_job(duration=500)
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(3)
    meter = page.get_by_role("meter", name="Requests left of GET /bulk_action/email/")
    await expect(meter).to_have_attribute("aria-valuemax", "160")
    await expect(page.locator("#budget")).to_contain_text("of 160 requests left")


async def test_pause_and_resume_ask_first(browser: Browser) -> None:
    """Nothing happens before the question is answered with yes; Escape and the other button mean no."""
    async with staging(browser, allow_control=True) as scene:
        ref = scene.run_job(duration=500, n_objects=1000)
        await scene.serve()
        page = await scene.show(f"#/{ref}")
        await scene.pass_time(3)
        await page.get_by_role("button", name="Pause", exact=True).click()
        question = page.get_by_role("dialog", name="Pause this action?")
        await expect(question).to_contain_text(str(ref))
        await question.get_by_role("button", name="Leave it as it is").click()
        await page.get_by_role("button", name="Pause", exact=True).click()
        await page.keyboard.press("Escape")
        await expect(question).to_be_hidden()
        assert {request.method for request in scene.sim.requests} == {"GET"}
        await page.get_by_role("button", name="Pause", exact=True).click()
        async with page.expect_response("**/pause"):
            await question.get_by_role("button", name="Pause it").click()
        await expect(question).to_be_hidden()
        await scene.pass_time(2)
        await expect(page.locator("#detail-status")).to_have_text("paused")
        await page.get_by_role("button", name="Resume", exact=True).click()
        async with page.expect_response("**/resume"):
            await page.get_by_role("button", name="Resume it").click()
        await scene.pass_time(4)
        await expect(page.locator("#detail-status")).to_have_text("processing")
        assert [request.method for request in scene.sim.requests].count("PUT") == 2


async def test_without_the_flag_nothing_can_be_changed(scene: Scene) -> None:
    """There is no button for it."""
    ref = scene.run_job(duration=500)
    await scene.serve()
    page = await scene.show(f"#/{ref}")
    await expect(page.locator("#detail-words")).not_to_be_empty()
    await expect(page.locator("#controls")).to_be_hidden()


async def test_what_close_refuses_is_said_in_the_detail(browser: Browser) -> None:
    """With the service's own words."""
    async with staging(browser, allow_control=True) as scene:
        ref = scene.run_job(duration=500)
        await scene.serve()
        page = await scene.show(f"#/{ref}")
        scene.sim.fail_next(faults.reply(400, '{"error": "Not now, please."}'), method="PUT")
        await page.get_by_role("button", name="Pause", exact=True).click()
        await page.get_by_role("button", name="Pause it").click()
        await expect(page.locator("#control-error")).to_contain_text("Not now, please.")
