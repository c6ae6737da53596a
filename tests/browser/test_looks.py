"""How it looks and feels: the dark, small screens, the keyboard, screen readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import faults

from .scenes import staging
from .test_page import row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import Browser, Page

    from .scenes import Scene

PHONE = {"viewport": {"width": 360, "height": 740}}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
    "dark phone": {**PHONE, "color_scheme": "dark"},
}


async def fill(scene: Scene) -> None:
    """One action of each kind that runs, and one of each status."""
    for kind in BULK_KINDS:
        scene.run_job(kind, duration=300, n_objects=12345)
    scene.add_job(Kind.EMAIL, status="paused", date_updated=scene.clock.now(), n_objects=10, n_objects_processed=3)
    scene.add_job(Kind.EMAIL, status="a_new_word", n_objects=None)
    for status in ("done", "error"):
        scene.add_job(Kind.EDIT, status=status, age=600)
    scene.sim.add_export(rows=3, age=60)


async def serious(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse, with where it is."""
    found = await Axe().run(page)
    return [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in found.response["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("size", SIZES)
async def test_axe_finds_nothing_serious(browser: Browser, size: str) -> None:
    """In the list, in the detail and in the question, in each size and colours."""
    async with staging(browser, allow_control=True) as scene:
        await fill(scene)
        await scene.serve()
        page = await scene.show(**SIZES[size])
        await scene.pass_time(12)
        await expect(page.locator(".row")).to_have_count(9)
        assert await serious(page) == []
        await page.locator("#running .open").first.press("Enter")
        await expect(page.locator("#detail-words")).not_to_be_empty()
        assert await serious(page) == []
        await page.get_by_role("button", name="Pause", exact=True).click()
        await expect(page.locator("#confirm")).to_be_visible()
        assert await serious(page) == []


async def test_axe_finds_nothing_serious_in_the_login(browser: Browser) -> None:
    """The form has a label, a title and enough contrast."""
    async with staging(browser, token="a-token-of-the-tests") as scene:
        await scene.serve()
        assert await serious(await scene.open()) == []


@pytest.mark.parametrize("width", [360, 480, 768, 1024, 1920])
async def test_no_width_makes_the_page_scroll_sideways(browser: Browser, width: int) -> None:
    """From 360 pixels on, with the detail open as well."""
    async with staging(browser, allow_control=True) as scene:
        await fill(scene)
        await scene.serve()
        page = await scene.show(viewport={"width": width, "height": 800})
        await scene.pass_time(12)
        await expect(page.locator("#running .rate").first).not_to_be_empty()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        cut = await page.evaluate(
            """() => [...document.querySelectorAll('.row .counts, .row .eta, .row .rate, .row .share')]
                .filter(e => e.textContent && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML)"""
        )
        assert cut == []
        await page.locator("#running .open").first.click()
        await expect(page.locator("#detail-words")).not_to_be_empty()
        assert await page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('#detail'))")


async def test_the_dark_is_dark_and_can_be_chosen(scene: Scene) -> None:
    """As the system has it, until somebody chooses; the choice outlives the page."""
    await scene.serve()
    page = await scene.show(color_scheme="dark")
    assert await brightness(page) < 60
    button = page.locator("#theme")
    await expect(button).to_have_attribute("aria-label", "Colours: as the system has them")
    await button.click()
    await expect(button).to_have_attribute("aria-label", "Colours: light")
    assert await brightness(page) > 200
    await page.reload()
    await expect(button).to_have_attribute("aria-label", "Colours: light")
    assert await brightness(page) > 200
    await button.click()
    assert await brightness(page) < 60


async def brightness(page: Page) -> float:
    """Of the page's ground, from 0 to 255."""
    found: list[int] = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    return sum(found[:3]) / 3


async def test_the_keyboard_is_enough(browser: Browser) -> None:
    """Tab comes to the list, arrows move in it, Enter opens, Escape closes and gives the focus back; it can pause."""
    async with staging(browser, allow_control=True) as scene:
        first = scene.run_job(duration=500)
        await scene.pass_time(5)
        second = scene.run_job(duration=500)
        await scene.pass_time(1)
        await scene.serve()
        page = await scene.show()
        await expect(page.locator("#running .row")).to_have_count(2)
        await tab_to(page, f"row-{second}")
        await page.keyboard.press("ArrowDown")
        assert await focused(page) == f"row-{first}"
        await page.keyboard.press("ArrowDown")
        assert await focused(page) == f"row-{first}"
        await page.keyboard.press("Home")
        assert await focused(page) == f"row-{second}"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
        await tab_to(page, "pause")
        await page.keyboard.press("Enter")
        await expect(page.locator("#confirm")).to_be_visible()
        await page.keyboard.press("Tab")
        async with page.expect_response("**/pause"):
            await page.keyboard.press("Enter")
        await expect(page.locator("#confirm")).to_be_hidden()
        await scene.pass_time(2)
        await expect(page.locator("#detail-status")).to_have_text("paused")
        await page.keyboard.press("Escape")
        await expect(page.locator("#detail")).to_be_hidden()
        assert await focused(page) == f"row-{second}"


async def test_the_keyboard_comes_to_a_list_whose_first_row_goes_away(scene: Scene) -> None:
    """By a change of state that a filter hides, or by an end: the focus goes to a neighbour."""
    oldest = scene.run_job(duration=5000)
    await scene.pass_time(2)
    ends = scene.run_job(duration=30)
    await scene.pass_time(2)
    newest = scene.run_job(duration=5000)
    await scene.pass_time(1)
    await scene.serve()
    page = await scene.show()
    await page.locator("#phases").get_by_role("button", name="running").click()
    await scene.close.pause(newest)
    await scene.pass_time(3)
    await expect(row(page, newest)).to_be_hidden()
    await tab_to(page, f"row-{ends}")
    await scene.pass_time(40)
    await expect(page.locator("#running").locator(row(page, ends))).to_have_count(0)
    assert await focused(page) == f"row-{oldest}"


async def focused(page: Page) -> str:
    """The id of what has the focus, or of the row that it is in."""
    found: str = await page.evaluate("(document.activeElement.closest('.row') ?? document.activeElement).id")
    return found


async def tab_to(page: Page, id: str) -> None:
    """Press Tab until that has the focus."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await focused(page) == id:
            return
    message = f"Tab never came to {id}"
    raise AssertionError(message)


async def test_a_screen_reader_hears_of_ends_and_not_of_counters(scene: Scene) -> None:
    """One live region, which is silent while bars move."""
    ref = scene.run_job(duration=60, counting=0, n_objects=600)
    await scene.serve()
    page = await scene.show()
    await page.evaluate(
        """() => {
            window.heard = [];
            const region = document.querySelector('[aria-live]');
            const note = () => heard.push(region.textContent);
            new MutationObserver(note).observe(region, {childList: true, characterData: true, subtree: true});
        }"""
    )
    await scene.pass_time(40)
    await expect(row(page, ref).locator(".share")).to_have_text("66%")
    assert await page.evaluate("heard") == []
    await scene.pass_time(25)
    await expect(row(page, ref).locator(".badge")).to_have_text("done")
    assert await page.evaluate("heard") == [f"email {ref.id[-6:]} is done"]
    assert await page.locator("[aria-live]").count() == 1


async def test_a_screen_reader_hears_of_it_in_the_detail_too(scene: Scene) -> None:
    """What is outside of an open dialog is not heard: the region goes along, and comes back."""
    ref = scene.run_job(duration=20, n_objects=20)
    await scene.serve()
    page = await scene.show(f"#/{ref}")
    region = page.get_by_role("dialog").get_by_role("status")
    await scene.pass_time(30)
    await expect(region).to_have_text(f"email {ref.id[-6:]} is done")
    await page.keyboard.press("Escape")
    await expect(page.locator("body > [aria-live]")).to_have_count(1)


async def test_a_screen_reader_hears_of_outages(scene: Scene) -> None:
    """Of Close's, and of the end of it."""
    scene.run_job(duration=4000)
    await scene.serve()
    page = await scene.show()
    scene.sim.fail_next(faults.server_error(503), times=None)
    await scene.pass_time(120)
    await expect(page.locator("[aria-live]")).to_have_text("Close does not answer; what is shown is as it was")


async def test_a_list_of_a_thousand_is_drawn_to_its_end(scene: Scene) -> None:
    """Every row is there, and the last one is drawn when it is come to; the keyboard comes to it."""
    jobs = [
        scene.add_job(Kind.EMAIL, status="processing", age=number, n_objects=100, n_objects_processed=40)
        for number in range(1000)
    ]
    await scene.serve()
    page = await scene.show()
    await expect(page.locator("#running .row")).to_have_count(1000)
    await expect(page.locator("#running-count")).to_have_text("1\u202f000")
    await page.locator("#running .open").first.focus()
    await page.keyboard.press("End")
    last = row(page, f"email:{jobs[-1].id}")
    await expect(last).to_be_in_viewport()
    await expect(last.locator(".share")).to_have_text("40%")
