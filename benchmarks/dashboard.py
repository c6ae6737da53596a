"""The dashboard beside a thousand running actions: computing time of its server, and of its page for a frame."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.cost import Row
from benchmarks.dashboard_frames import CATEGORIES, PARTS, UPDATE, after_updates, read_frames, summarize
from benchmarks.dashboard_simulator import API_KEY
from benchmarks.harness import FULL, clean_environment, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from benchmarks.harness import Effort, Round

CORE: Final = 0.25
"""The share of a core that the server's process may take, polls included."""

FRAME: Final = 16.0
"""Milliseconds of the main thread that a frame with an update may take at the median: a screen shows 60 a second."""

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SWITCHES: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_MARKING: Final = f"""
window.EventSource = class extends EventSource {{
  constructor(...given) {{
    super(...given);
    this.addEventListener("state", () => performance.mark("{UPDATE}"));
  }}
}};
"""
"""What lets the trace show when an update comes: the browser's own does not have the events of an EventSource."""


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<what>.<figure>`. A quick run is that of some actions, for seconds."""
    jobs, warm_up, seconds = (1_000, 45.0, 120.0) if effort == FULL else (20, 1.0, 5.0)
    with start_worker("dashboard_simulator", "--jobs", str(jobs)) as ask_simulator:
        base_url = ask_simulator("address")["base_url"]
        with _serve(base_url) as (pid, address), _open(address) as page:
            page.locator(".row").nth(jobs - 1).wait_for(state="attached", timeout=120_000)
            page.wait_for_timeout(warm_up * 1000)
            yield _observe(page, pid, ask_simulator, seconds=seconds) | {"actions.number": jobs}


def _observe(page: Page, pid: int, ask_simulator: Callable[[str], dict[str, Any]], *, seconds: float) -> Round:
    """What server and page take at the same time."""
    browser = page.context.browser
    if browser is None:
        raise RuntimeError("the page has lost its browser")
    page.evaluate("performance.clearMarks()")
    browser.start_tracing(page=page, categories=list(CATEGORIES))
    asked, cpu, began = ask_simulator("count"), _read_cpu_seconds(pid), time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    _await_update(page)
    cpu, took = _read_cpu_seconds(pid) - cpu, time.monotonic() - began
    answered = ask_simulator("count")
    frames = read_frames(json.loads(browser.stop_tracing())["traceEvents"])
    taking = [frame for frame in frames if frame.n_updates]
    return {
        "server.core": cpu / took,
        "server.requests_per_second": (answered["requests"] - asked["requests"]) / took,
        "server.refused": answered["refused"] - asked["refused"],
        "page.updates": sum(frame.n_updates for frame in taking),
        "observed.seconds": took,
        "chromium.version": float(browser.version.partition(".")[0]),
        **{f"taking.{name}": value for name, value in summarize(taking).items()},
        **{f"drawing.{name}": value for name, value in summarize(after_updates(frames)).items()},
    }


def _await_update(page: Page) -> None:
    """Until the page has drawn an update, if a short while was too short for any."""
    page.wait_for_function(f"performance.getEntriesByName('{UPDATE}').length > 0", timeout=60_000)
    page.wait_for_timeout(500)


@contextlib.contextmanager
def _serve(base_url: str) -> Iterator[tuple[int, str]]:
    """Run `closebulk dashboard` in a process of its own; give its id, and where the page is."""
    command = [sys.executable, "-m", "closebulk_async.cli", "dashboard", "--port", "0"]
    own = {"CLOSE_API_KEY": API_KEY, "CLOSE_BASE_URL": base_url, "PYTHONUNBUFFERED": "1"}
    # Neither a journal nor a token of the user's.
    environment = {name: value for name, value in clean_environment(**own).items() if not name.startswith("CLOSEBULK_")}
    pipe, same = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, stdout=pipe, stderr=same, text=True, env=environment) as process:
        try:
            yield process.pid, _read_address(process)
        finally:
            process.terminate()


def _read_address(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise RuntimeError("closebulk dashboard ended before it served a page")


@contextlib.contextmanager
def _open(address: str) -> Iterator[Page]:
    """The page in a headless Chromium, as large as a laptop's screen has it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find_browser(), args=_SWITCHES)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.add_init_script(_MARKING)
            page.goto(address)
            yield page
        finally:
            browser.close()


def _find_browser() -> str:
    names = (os.environ.get("CLOSEBULK_CHROMIUM", ""), *_BROWSERS)
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("there is no Chromium: apt-get install chromium, or name one in CLOSEBULK_CHROMIUM")
    return found


def _read_cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all of its threads together (Linux)."""
    # The name of the program stands in brackets, and may hold any of the characters that part the fields.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_FRAMES: Final = {"taking": "a frame that takes an update in", "drawing": "any frame that draws what came"}


def render(counts: Round) -> str:
    """Give a round of `measure` as a table."""
    rows = [Row("server: share of one core", 100 * counts["server.core"], "{:.1f} %", 100 * CORE)]
    for name, words in _FRAMES.items():
        rows += [
            Row(f"page, {words}: median", counts[f"{name}.median"], "{:.1f} ms", FRAME),
            Row(f"page, {words}: 95 % quantile", counts[f"{name}.p95"], "{:.1f} ms"),
            Row(f"page, {words}: longest", counts[f"{name}.longest"], "{:.1f} ms"),
            Row(f"page, {words}: what the thread itself computed, median", counts[f"{name}.computed"], "{:.1f} ms"),
        ]
    table = "\n".join(row.render() for row in rows)
    said = {name.replace(".", "_"): value for name, value in counts.items()}
    parts = ", ".join(f"{part} {counts[f'taking.{part}']:.1f}" for part in sorted({*PARTS.values()}))
    return (
        f"| what | found | target | met |\n|---|---|---|---|\n{table}\n\n{_NOTES.format_map(said | {'parts': parts})}"
    )


_NOTES: Final = """\
{actions_number:,.0f} actions of all four kinds, each of an hour, run while a page is open for {observed_seconds:.0f} s
in Chromium {chromium_version:.0f}. It is sent {page_updates:.0f} updates, which it takes in within {taking_number:.0f}
frames and draws within {drawing_number:.0f}. The server sends {server_requests_per_second:.1f} requests a second to the
simulator, of which {server_refused:.0f} are refused. Medians of the parts of a frame that takes an update in, in ms:
{parts}.
"""
