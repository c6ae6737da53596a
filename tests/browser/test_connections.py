"""The page and its server: lost connections, other servers in the same place, and logging in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from playwright.async_api import expect

from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from tests.cli.starts import crash

from .scenes import staging
from .test_page import row

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, Page

    from .scenes import Scene

TOKEN = "a-token-of-the-tests"


async def test_after_the_server_was_restarted_the_page_goes_on(scene: Scene) -> None:
    """It says that it is lost, comes back by itself, and has what happened meanwhile."""
    ends, goes_on = scene.run_job(duration=20), scene.run_job(duration=400, counting=0, n_objects=400)
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(5)
    await expect(row(page, goes_on).locator(".counts")).to_have_text("5 of 400")
    await scene.stop()
    await expect(page.locator("#page-state")).to_have_text("reconnecting")
    new = scene.run_job(Kind.DELETE, duration=400)
    await scene.pass_time(60)
    await scene.serve()
    await expect(page.locator("#page-state")).to_have_text("live")
    await expect(row(page, new)).to_be_visible()
    await expect(row(page, ends).locator(".badge")).to_have_text("done")
    await scene.pass_time(5)
    await expect(row(page, goes_on).locator(".counts")).to_have_text("70 of 400")


async def test_after_a_cut_connection_nothing_is_missing(scene: Scene) -> None:
    """The same server goes on where the page was, the points of the chart included."""
    ref = scene.run_job(duration=400, counting=0, n_objects=400)
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(5)
    await expect(row(page, ref).locator(".counts")).to_have_text("5 of 400")
    await scene.cut()
    await expect(page.locator("#page-state")).to_have_text("reconnecting")
    await scene.pass_time(30)
    await scene.listen()
    await expect(page.locator("#page-state")).to_have_text("live")
    await scene.pass_time(2)
    await expect(row(page, ref).locator(".counts")).to_have_text("37 of 400")
    await page.goto(f"{scene.url}#/{ref}")
    await expect(page.locator("#detail-chart")).to_have_attribute(
        "aria-label", "Between 1.0/s and 1.0/s while it was watched"
    )


async def test_after_a_restart_actions_can_still_be_paused(browser: Browser) -> None:
    """What a page has to send along is another one then; it asks for it by itself."""
    async with staging(browser, allow_control=True) as scene:
        ref = scene.run_job(duration=4000)
        await scene.serve()
        page = await scene.show(f"#/{ref}")
        await scene.stop()
        await expect(page.locator("#page-state")).to_have_text("reconnecting")
        await scene.serve()
        await expect(page.locator("#page-state")).to_have_text("live")
        await page.get_by_role("button", name="Pause", exact=True).click()
        async with page.expect_response(lambda answer: answer.url.endswith("/pause") and answer.ok):
            await page.get_by_role("button", name="Pause it").click()
        await expect(page.locator("#control-error")).to_be_empty()
        assert [request.method for request in scene.sim.requests].count("PUT") == 1


async def test_after_a_restart_what_is_gone_is_gone(scene: Scene) -> None:
    """Also where so much is there that it comes in parts; what is still there stays, with its focus."""
    jobs = [scene.add_job(status="paused", age=number, date_updated=scene.clock.now()) for number in range(320)]
    await scene.serve()
    page = await scene.show()
    await expect(page.locator("#running .row")).to_have_count(320)
    await row(page, f"email:{jobs[7].id}").locator(".open").focus()
    await scene.stop()
    scene.sim.fail_next(faults.altered(data=[], has_more=False), times=None, path="/bulk_action/email/")
    for number in range(200):
        scene.add_job(Kind.DELETE, status="paused", age=number, date_updated=scene.clock.now())
    await scene.serve()
    await expect(page.locator("#running .row")).to_have_count(200)
    await expect(row(page, f"email:{jobs[7].id}")).to_have_count(0)
    await expect(page.locator("#running-count")).to_have_text("200")


async def test_a_tab_that_nobody_sees_lets_go_and_catches_up(scene: Scene) -> None:
    """A browser has six connections for one server: more tabs than that must still be served."""
    ref = scene.run_job(duration=400, counting=0, n_objects=400)
    await scene.serve()
    page = await scene.open()
    await page.clock.install()
    await page.reload()
    await expect(page.locator("#page-state")).to_have_text("live")
    await see(page, is_hidden=True)
    await page.clock.fast_forward(6000)
    await scene.pass_time(30)
    await expect_clients(page, 0)
    await expect(row(page, ref).locator(".counts")).not_to_have_text("30 of 400")
    await see(page, is_hidden=False)
    await expect(row(page, ref).locator(".counts")).to_have_text("30 of 400")
    await expect_clients(page, 1)


async def see(page: Page, *, is_hidden: bool) -> None:
    """What the browser says when another tab is chosen; one without a window always shows all of its tabs."""
    await page.evaluate(
        """isHidden => {
            Object.defineProperty(document, 'hidden', {configurable: true, get: () => isHidden});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        is_hidden,
    )


async def expect_clients(page: Page, number: int) -> None:
    """So many pages are told what happens."""
    await page.wait_for_function(
        """async wanted => {
            const text = await (await fetch('metrics')).text();
            return text.includes(`closebulk_dashboard_clients ${wanted}.0`);
        }""",
        arg=number,
    )


async def test_a_token_opens_the_page_and_stands_nowhere(browser: Browser) -> None:
    """A wrong one is told so; the right one gives a session; logging out ends it."""
    async with staging(browser, token=TOKEN) as scene:
        ref = scene.run_job(duration=400)
        await scene.serve()
        page = await scene.open()
        await page.get_by_label("Token").fill("another")
        answered = asyncio.ensure_future(page.wait_for_event("framenavigated"))
        await page.get_by_role("button", name="Open the dashboard").click(no_wait_after=True)
        while not answered.done():
            await scene.pass_time(1)  # a wrong token is answered late
            await asyncio.wait([answered], timeout=0.05)
        await expect(page.get_by_role("alert")).to_contain_text("not the token")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Open the dashboard").click()
        await expect(row(page, ref)).to_be_visible()
        assert TOKEN not in await page.content()
        assert not [address for address in scene.asked if "token" in address]
        assert TOKEN not in str(await page.context.cookies())
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        await page.goto(scene.url)
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_a_session_that_has_ended_leads_to_the_login(browser: Browser) -> None:
    """A page that was left open over a restart asks for the token again."""
    async with staging(browser, token=TOKEN) as scene:
        await scene.serve()
        page = await scene.open()
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Open the dashboard").click()
        await expect(page.locator("#page-state")).to_have_text("live")
        await scene.stop()
        await scene.serve()
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_starts_that_nobody_knows_the_end_of_are_shown(browser: Browser, tmp_path: Path) -> None:
    """What the journal holds open of a process that died, until an operator settles it."""
    journal = tmp_path / "journal.db"
    async with staging(browser, journal=journal) as scene:
        intent = await crash(scene.sim, journal, key="campaign-7")
        await scene.serve()
        page = await scene.show()
        await expect(page.locator("#starts li")).to_contain_text("campaign-7: may have been sent")
        await expect(page.locator("#starts")).to_contain_text(intent)
        await scene.close.abandon(intent)
        await scene.pass_time(60)
        await expect(page.locator("#open-starts")).to_be_hidden()
