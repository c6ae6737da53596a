"""What comes from elsewhere is shown as text, and nothing else is loaded or run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.async_api import expect

from closebulk_async.models import Kind
from closebulk_async.simulator import faults

from .test_page import row

if TYPE_CHECKING:
    from .scenes import Scene

EVIL = '<img src=x onerror="window.wasRun = true"><script>window.wasRun = true</script>\'"&amp;'
QUERY = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
    "condition": {"type": "text", "mode": "full_words", "value": EVIL},
}


async def test_values_of_the_service_are_text(scene: Scene) -> None:
    """A lead query, a type, a status and an error that are markup are shown to the letter, and never obeyed."""
    evil = scene.add_job(Kind.EDIT, status=EVIL, type=EVIL, s_query=QUERY, n_objects=10, n_objects_processed=1)
    legacy = scene.add_job(Kind.EMAIL, status="processing", template_id=EVIL, query=EVIL, s_query={})
    await scene.serve()
    page = await scene.show()
    line = row(page, f"edit:{evil.id}")
    await expect(line.locator(".badge")).to_have_text(EVIL)
    scene.sim.fail_next(faults.reply(400, json.dumps({"error": EVIL})), times=None, path="/edit/")
    await scene.pass_time(20)
    await expect(page.locator(".problem:visible").first).to_contain_text("<img src=x")
    await line.click()
    await expect(page.locator("#detail-words")).to_contain_text("<img src=x")
    await expect(page.locator("#detail-query")).to_contain_text("<img src=x")
    await expect(page.locator("#detail-timeline")).to_contain_text("<img src=x")
    await page.goto(f"{scene.url}#/email:{legacy.id}")
    await expect(page.locator("#detail-words")).to_contain_text("<img src=x")
    await page.goto(f"{scene.url}#/{EVIL}")
    await expect(page.locator("#detail-error")).not_to_be_empty()
    assert await page.evaluate("window.wasRun") is None
    assert await page.locator("img, body script:not([src])").count() == 0


async def test_the_policy_holds_and_nobody_else_is_asked(scene: Scene) -> None:
    """No complaint on the console, and no request to another host, through all that the page can do."""
    ref = scene.run_job(duration=50, counting=0, n_objects=500)
    scene.add_job(Kind.EDIT, status="done", age=60)
    await scene.serve()
    page = await scene.show()
    await scene.pass_time(10)
    await expect(row(page, ref).locator(".spark canvas")).to_have_count(1)
    await row(page, ref).click()
    await expect(page.locator("#detail-chart canvas")).to_have_count(1)
    await page.keyboard.press("Escape")
    await page.locator("#theme").click()
    await page.set_viewport_size({"width": 400, "height": 700})
    await scene.pass_time(45)
    await expect(row(page, ref).locator(".badge")).to_have_text("done")
    assert scene.complaints == []
    assert {urlsplit(address).netloc for address in scene.asked} == {f"127.0.0.1:{scene.port}"}


async def test_scripts_of_others_do_not_run(scene: Scene) -> None:
    """Neither one that is written into the page nor one from another place: the browser refuses both."""
    await scene.serve()
    page = await scene.show()
    await page.evaluate(
        """() => {
            const inline = document.createElement('script');
            inline.textContent = 'window.wasRun = true';
            document.body.append(inline);
            const image = document.createElement('div');
            image.innerHTML = '<img src="x" onerror="window.wasRun = true">';
            document.body.append(image);
        }"""
    )
    await expect(page.locator("img")).to_have_count(1)
    assert await page.evaluate("new Promise(done => setTimeout(() => done(window.wasRun), 50))") is None
    assert any("Content Security Policy" in complaint for complaint in scene.complaints)


async def test_no_key_reaches_the_browser(scene: Scene) -> None:
    """Neither in the page nor in any answer that it gets."""
    ref = scene.run_job(duration=50)
    await scene.serve()
    page = await scene.show(f"#/{ref}")
    await expect(page.locator("#detail-words")).not_to_be_empty()
    addresses = ("api/actions", f"api/actions/{ref}", "api/session", "metrics", "./")
    answers = [
        await page.evaluate("address => fetch(address).then(answer => answer.text())", each) for each in addresses
    ]
    assert not [answer for answer in answers if scene.sim.api_key in answer]
    assert scene.sim.api_key not in await page.content()
