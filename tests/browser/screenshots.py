"""`python -m tests.browser.screenshots FOLDER`: the pictures of the README, made from a simulator."""

from __future__ import annotations

import argparse
import asyncio
import html
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Limits, Plan, Simulator
from tests.cli.programs import StillClock, for_simulator
from tests.cli.screens import on_terminal

from .scenes import FLAGS, Scene, find_browser, staging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from playwright.async_api import Browser, Page
    from pyte.screens import Char

    from tests.cli.screens import Terminal

FIELDS: dict[Kind, Sequence[dict[str, Any]]] = {
    Kind.EMAIL: [{"template_id": "tmpl_autumn_offer"}, {"template_id": "tmpl_renewal"}],
    Kind.DELETE: [{"bulk_object_type": "lead"}, {"bulk_object_type": "contact"}],
    Kind.EDIT: [{"type": "set_lead_status"}, {"type": "clear_custom_field"}],
    Kind.SEQUENCE_SUBSCRIPTION: [{"action_type": "subscribe"}, {"action_type": "pause"}],
}
QUERY = {
    "type": "and",
    "queries": [
        {"type": "object_type", "object_type": "lead"},
        {
            "type": "field_condition",
            "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
            "condition": {"type": "text", "mode": "full_words", "value": "ACME Inc."},
        },
    ],
}

COLOURS = {
    "default": "#d8dee6",
    "black": "#3a4450",
    "red": "#ff8087",
    "green": "#6fd693",
    "brown": "#e8bd62",
    "blue": "#86adff",
    "magenta": "#d6a6ff",
    "cyan": "#6fd3dd",
    "white": "#ffffff",
}
"""Those that pyte names, as a dark terminal has them; it tells others by their numbers."""


def fill(sim: Simulator, *, chance: random.Random) -> None:
    """Actions of all kinds, running and ended, as an organization has them on a working day."""
    curves = ("linear", "accelerating", "slowing", "linear")
    for number in range(9):
        kind = BULK_KINDS[number % len(BULK_KINDS)]
        plan = Plan(
            duration=chance.uniform(900, 5000),
            n_objects=chance.randrange(400, 12_000),
            curve=curves[number % len(curves)],
        )
        fields = {**FIELDS[kind][number // 4 % 2], "s_query": QUERY}
        sim.add_job(str(kind), fields, plan=plan, age=60 * number)  # type: ignore[arg-type]  # one of the four
    now = sim.clock.now()
    rest: dict[str, Any] = {"date_updated": now - timedelta(minutes=9), "n_objects": 5200, "n_objects_processed": 1850}
    sim.add_job("email", FIELDS[Kind.EMAIL][0], status="paused", age=3000, **rest)
    for number, status in enumerate(("done", "done", "error", "done", "done")):
        kind, age = BULK_KINDS[number % len(BULK_KINDS)], 4000 + 7000 * number
        total = chance.randrange(40, 9000)
        ended = {"n_objects": total, "n_objects_processed": total if status == "done" else total // 3}
        touched = {"date_updated": now - timedelta(seconds=age - 1500)}
        fields = {**FIELDS[kind][0], **ended, **touched}
        sim.add_job(str(kind), fields, status=status, age=age)  # type: ignore[arg-type]  # one of the four
    sim.add_export(rows=40, age=5000)


@asynccontextmanager
async def dashboard(browser: Browser) -> AsyncIterator[Scene]:
    """A dashboard that has been looking on for some minutes."""
    async with staging(browser, allow_control=True) as scene:
        scene.sim.limits = Limits(rate=20)
        fill(scene.sim, chance=random.Random(7))
        await scene.serve()
        await scene.pass_time(420)
        yield scene


async def shoot_dashboard(browser: Browser, folder: Path) -> None:
    """The page, wide, in the dark, on a phone and with the detail of one action."""
    still: dict[str, Any] = {
        "timezone_id": "UTC",
        "locale": "en-GB",
        "reduced_motion": "reduce",
    }  # a bar is not caught on its way
    wide: dict[str, Any] = {"viewport": {"width": 1360, "height": 900}, **still}
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, **still}
    async with dashboard(browser) as scene:
        page = await ready(scene, **wide, color_scheme="light")
        await page.screenshot(path=folder / "dashboard.png")
        await page.locator("#running .open").nth(2).click()
        await page.locator("#detail-words:not(:empty)").wait_for()
        await page.locator("#detail-chart canvas").wait_for()
        await page.screenshot(path=folder / "dashboard-detail.png")
        page = await ready(scene, **wide, color_scheme="dark")
        await page.screenshot(path=folder / "dashboard-dark.png")
        page = await scene.show(**phone, color_scheme="light")
        await page.evaluate("document.querySelector('.filters').scrollIntoView()")
        await page.locator("#running .spark canvas").first.wait_for()
        await page.screenshot(path=folder / "dashboard-phone.png")


async def ready(scene: Scene, **context: Any) -> Page:
    """A page on which all that can be seen is drawn."""
    page = await scene.show(**context)
    await page.locator("#running .spark canvas").first.wait_for()
    await page.locator("#total-chart canvas").wait_for()
    await page.evaluate("new Promise(done => requestIdleCallback(done))")
    return page


async def shoot_terminals(browser: Browser, folder: Path) -> None:
    """`closebulk ls`, and `closebulk watch --active` in the middle of it."""
    clock = StillClock(datetime.now(UTC))
    async with Simulator(clock=clock) as sim:
        fill(sim, chance=random.Random(7))
        clock.move(420)
        async with on_terminal("ls", "--since", "7d", env=for_simulator(sim), columns=112, lines=20) as terminal:
            await terminal.finish()
            await shoot_terminal(browser, terminal, "closebulk ls --since 7d", folder / "ls.png")
        async with on_terminal("watch", "--active", env=for_simulator(sim), columns=112, lines=14) as terminal:
            await terminal.until_text("%")
            for _ in range(3):
                clock.move(2)
                before = terminal.shown
                await terminal.until(lambda lines, before=before: lines != before)  # type: ignore[misc]  # a lambda has no types
            await terminal.until(lambda lines: sum("ETA" in line for line in lines) >= 6)
            await shoot_terminal(browser, terminal, "closebulk watch --active", folder / "watch.png")


async def shoot_terminal(browser: Browser, terminal: Terminal, command: str, path: Path) -> None:
    """The screen of a terminal as a picture."""
    lines = [f'<span class="prompt">$</span> {html.escape(command)}']
    for y in range(len(terminal.shown)):
        row = terminal.screen.buffer[y]
        lines.append("".join(to_html(row[x]) for x in range(terminal.screen.columns)).rstrip())
    page = await browser.new_page(viewport={"width": 1100, "height": 200}, device_scale_factor=2)
    await page.set_content(
        f"""<!doctype html><style>
        body {{ margin: 0; background: #fff; }}
        pre {{ margin: 0; padding: 18px 22px; background: #12181f; color: {COLOURS["default"]};
               font: 14px/1.45 "DejaVu Sans Mono", ui-monospace, monospace; display: inline-block; }}
        .prompt {{ color: {COLOURS["green"]}; }}</style><pre>{chr(10).join(lines)}</pre>"""
    )
    await page.locator("pre").screenshot(path=path)
    await page.close()


def to_html(char: Char) -> str:
    """One cell, in its colour."""
    if char.fg == "default" and not char.bold:
        return html.escape(char.data)
    colour = COLOURS.get(char.fg) or COLOURS.get(char.fg.removeprefix("bright")) or f"#{char.fg}"
    weight = ";font-weight:700" if char.bold else ""
    return f'<span style="color:{colour}{weight}">{html.escape(char.data)}</span>'


async def main(folder: Path) -> None:
    """Make all of them."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        await shoot_dashboard(browser, folder)
        await shoot_terminals(browser, folder)
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    chosen: Path = parser.parse_args().folder
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(chosen))
