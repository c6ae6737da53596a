"""Who may see the dashboard, who may change something through it, and what no answer ever holds."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from closebulk_async import InvalidRequestError
from closebulk_async.dashboard import make_app
from closebulk_async.dashboard.guards import HEADERS, Guard
from closebulk_async.dashboard.sessions import LIFE, MOST_ATTEMPTS, MOST_SESSIONS, Sessions, check_token

from .houses import TOKEN, Answer, House, living

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from closebulk_async.testing import FakeClock

PATHS = [
    "/",
    "/static/index.html",
    "/static/none.js",
    "/healthz",
    "/metrics",
    "/login",
    "/api/session",
    "/api/actions",
    "/api/actions/email:none",
    "/api/nothing",
    "/nothing",
]
CLOSED = ["/metrics", "/api/session", "/api/actions", "/api/actions/email:none", "/api/events", "/api/nothing"]


async def log_in(house: House, token: str = TOKEN, **headers: str) -> Answer:
    """Send the form of the login page."""
    return await house.ask("/login", method="POST", data={"token": token}, headers=headers)


def cookie_of(answer: Answer) -> dict[str, str]:
    """What a browser sends from then on."""
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


# Names and headers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, "/api/events"])
async def test_a_page_whose_name_was_rebound_reads_nothing(house: House, path: str) -> None:
    """Whatever it asks for: the name that it was called by is not this host's."""
    answer = await house.ask(path, headers={"Host": "evil.example:8765"})
    assert answer.status == 421
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "evil" not in answer.text


async def test_a_name_that_was_allowed_is_served() -> None:
    """As that of a proxy in front of it."""
    async with living(allowed_hosts=["dash.example.com"]) as house:
        assert (await house.ask("/api/actions", headers={"Host": "dash.example.com"})).status == 200
        assert (await house.ask("/api/actions", headers={"Host": "other.example.com"})).status == 421


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_every_answer_carries_the_headers(locked: House, path: str, method: str) -> None:
    """Errors and files as well, whoever asks."""
    for sent in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Host": "evil.example"}):
        asking = asyncio.create_task(locked.ask(path, method=method, headers=sent))
        if (path, method) == ("/login", "POST") and "Host" not in sent:  # a wrong token takes a second
            await locked.sleeping(asking)
            await locked.settle(1)
        answer = await asking
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_streams_carry_the_headers(house: House) -> None:
    """Although they are sent piece by piece."""
    async with house.page() as page:
        assert {name: page.response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "name", ["../board.py", "..%2fboard.py", "%2e%2e/board.py", "%2e%2e%2fboard.py", "/etc/passwd", "vendor", "vendor/"]
)
async def test_only_files_of_the_page_are_served(house: House, name: str) -> None:
    """They are looked up by their name, and no path leads out of them, however it is spelled."""
    async with house.http.get(URL(f"{house.url}/static/{name}", encoded=True), allow_redirects=False) as response:
        assert response.status in {308, 404}
        assert b"import" not in await response.read()


@pytest.mark.parametrize("path", ["/metrics", "/api/session", "/api/actions", "/api/actions/email:none", "/api/events"])
async def test_pages_of_others_cause_no_request(house: House, path: str) -> None:
    """They could not read the answer, and need not: an image whose address this is would cost a request to Close."""
    await house.settle(5)
    asked = len(house.sim.requests)
    for site in ("cross-site", "same-site"):
        assert (await house.ask(path, headers={"Sec-Fetch-Site": site})).status == 403
    assert len(house.sim.requests) == asked
    assert (await house.ask("/", headers={"Sec-Fetch-Site": "cross-site"})).status == 200
    assert (await house.ask("/api/session", headers={"Sec-Fetch-Site": "same-origin"})).status == 200
    assert (await house.ask("/api/session", headers={"Sec-Fetch-Site": "none"})).status == 200


# The token ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-wrong-wrong-wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
        {"Cookie": "closebulk_session=guessed"},
        {"Cookie": f"closebulk_session={TOKEN}"},
    ],
)
async def test_without_the_token_there_is_no_answer(locked: House, path: str, headers: Mapping[str, str]) -> None:
    """From nothing that tells of Close, nor of what there is."""
    answer = await locked.ask(path, headers=headers)
    assert (answer.status, answer.json()) == (401, {"error": "a token is needed"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_in_the_address_counts_for_nothing(locked: House) -> None:
    """Addresses are logged."""
    assert (await locked.ask(f"/api/actions?token={TOKEN}")).status == 401
    assert "Set-Cookie" not in (await locked.ask(f"/login?token={TOKEN}")).headers


@pytest.mark.parametrize("path", ["/metrics", "/api/session", "/api/actions"])
async def test_machines_send_the_token(locked: House, path: str) -> None:
    """As a scraper of metrics does."""
    assert (await locked.ask(path, headers={"Authorization": f"bearer {TOKEN}"})).status == 200


async def test_the_page_asks_for_the_token(locked: House) -> None:
    """The form needs no script and nothing that is closed; with the token the page is there instead."""
    asked = await locked.ask("/")
    assert asked.status == 401
    assert b'<form method="post" action="login">' in asked.body
    assert (await locked.ask("/static/login.html")).status == 200
    assert b'action="login"' not in (await locked.ask("/", headers={"Authorization": f"Bearer {TOKEN}"})).body


async def test_a_session_opens_everything(locked: House) -> None:
    """Until it is ended."""
    entered = await log_in(locked)
    assert (entered.status, entered.headers["Location"]) == (303, "./")
    cookie = cookie_of(entered)
    assert (await locked.ask("/", headers=cookie)).status == 200
    assert (await locked.ask("/api/actions", headers=cookie)).status == 200
    left = await locked.ask("/logout", method="POST", headers=cookie)
    assert (left.status, left.headers["Location"]) == (303, "./")
    assert (await locked.ask("/api/actions", headers=cookie)).status == 401


async def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(locked: House) -> None:
    """It is random, and sent over TLS alone where it came so."""
    first, second = [await log_in(locked) for _ in range(2)]
    for entered in (first, second):
        name, *attributes = entered.headers["Set-Cookie"].split("; ")
        assert TOKEN not in name
        assert {*attributes} == {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={int(LIFE)}"}
    assert first.headers["Set-Cookie"] != second.headers["Set-Cookie"]
    encrypted = await log_in(locked, **{"X-Forwarded-Proto": "https"})
    assert "; Secure" in encrypted.headers["Set-Cookie"]


async def test_a_session_ends_after_half_a_day(clock: FakeClock) -> None:
    """Whatever a browser keeps."""
    sessions = Sessions(check_token(TOKEN), clock=clock)
    session = await sessions.begin(TOKEN)
    assert session is not None
    await clock.sleep(LIFE - 1)
    assert sessions.is_session(session)
    await clock.sleep(1)
    assert not sessions.is_session(session)


async def test_sessions_are_bounded(locked: House) -> None:
    """The oldest one ends."""
    cookies = [cookie_of(await log_in(locked)) for _ in range(MOST_SESSIONS + 1)]
    statuses = [(await locked.ask("/api/session", headers=cookie)).status for cookie in cookies]
    assert statuses == [401] + [200] * MOST_SESSIONS


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ä" * 30, "\ud800", "\0" * 20])
async def test_a_wrong_token_takes_a_second(locked: House, token: str) -> None:
    """The form is shown again, says so, and no session has begun."""
    trying = asyncio.create_task(log_in(locked, token.encode(errors="surrogatepass").decode("latin-1")))
    await locked.sleeping(trying)
    assert not trying.done()
    await locked.settle(1)
    answer = await trying
    assert answer.status == 401
    assert b'<p role="alert">This is not the token.</p>' in answer.body
    assert "Set-Cookie" not in answer.headers


async def test_few_can_guess_at_the_same_time(locked: House) -> None:
    """Others who guess meanwhile are refused; who has the token is not."""
    guesses = [asyncio.create_task(log_in(locked, "wrong")) for _ in range(MOST_ATTEMPTS)]
    await locked.sleeping(*guesses)
    assert (await log_in(locked, "wrong too")).status == 429
    assert (await log_in(locked)).status == 303
    await locked.settle(1)
    assert {(await guess).status for guess in guesses} == {401}


async def test_what_is_too_large_is_no_login(locked: House) -> None:
    """Anybody may send it, and nobody keeps it."""
    assert (await log_in(locked, "x" * 10_000)).status == 413


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_another_site_logs_nobody_in(locked: House, site: str) -> None:
    """A browser says whose page sent the form."""
    assert (await log_in(locked, **{"Sec-Fetch-Site": site})).status == 403


@pytest.mark.parametrize("method", [Sessions.is_token, Guard.check_control])
def test_secrets_are_compared_in_constant_time(method: Callable[..., object]) -> None:
    """By the standard library's comparison: how long it takes shows in no test, and could show to an attacker."""
    source = inspect.getsource(method)
    assert source.count("hmac.compare_digest(given") == 1
    assert "==" not in source


@pytest.mark.parametrize("token", ["tiny", "x" * 15, "", "with a space in between", "\n" * 20, "ä" * 20, 5])
async def test_a_token_that_is_none_is_refused(house: House, token: str) -> None:
    """Before anything is served, and without a word of it in the error."""
    with pytest.raises(InvalidRequestError, match="token must") as caught:
        make_app(house.close, token=token)
    assert not token or str(token) not in str(caught.value)


# Pausing and resuming -------------------------------------------------------------------------------------------------


async def test_a_dashboard_that_only_shows_changes_nothing(house: House) -> None:
    """Also for whoever has all that a change needs."""
    ref = house.run_job()
    headers = {"X-CSRF-Token": await house.csrf()}
    for what in ("pause", "resume"):
        answer = await house.ask(f"/api/actions/{ref}/{what}", method="POST", headers=headers)
        assert answer.status == 403
        assert "--allow-control" in answer.json()["error"]
    assert {request.method for request in house.sim.requests} == {"GET"}
    assert (await house.ask("/api/session")).json()["can_control"] is False


async def test_whoever_has_the_csrf_token_pauses_and_resumes(control: House) -> None:
    """The answer is the row as it is then, and an open page sees it at the next beat."""
    ref = control.run_job()
    await control.settle(5)
    headers = {"X-CSRF-Token": await control.csrf(), "Origin": control.url, "Sec-Fetch-Site": "same-origin"}
    async with control.page() as page:
        await page.take()
        paused = await control.ask(f"/api/actions/{ref}/pause", method="POST", headers=headers)
        assert (paused.status, paused.json()["row"]["phase"]) == (200, "paused")
        assert (await page.until(control, phase="paused"))["ref"] == ref
    resumed = await control.ask(f"/api/actions/{ref}/resume", method="POST", headers=headers)
    assert (resumed.status, resumed.json()["row"]["phase"]) == (200, "running")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "guessed"},
        {"X-CSRF-Token": "ä"},
        {"X-CSRF-Token": "{csrf}x"},
        {"X-CSRF-Token": "{csrf}", "Origin": "http://evil.example"},
        {"X-CSRF-Token": "{csrf}", "Origin": "http://127.0.0.1:1"},
        {"X-CSRF-Token": "{csrf}", "Origin": "null"},
        {"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "same-site"},
        {"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_page_of_somebody_else_changes_nothing(control: House, headers: Mapping[str, str], what: str) -> None:
    """In none of the ways in which its request differs from one of the dashboard's own page."""
    ref, csrf = control.run_job(), await control.csrf()
    sent = {name: value.format(csrf=csrf) for name, value in headers.items()}
    answer = await control.ask(f"/api/actions/{ref}/{what}", method="POST", headers=sent)
    assert answer.status == 403
    assert answer.json().keys() == {"error"}
    assert {request.method for request in control.sim.requests} == {"GET"}


async def test_each_process_has_a_csrf_token_of_its_own(control: House) -> None:
    """It is random, and known to nobody who cannot read what this host answers."""
    async with living(allow_control=True) as other:
        assert await other.csrf() != await control.csrf()
    assert len(await control.csrf()) >= 32


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_a_post_changes_something(control: House, method: str) -> None:
    """A link or an image on another page sends a GET."""
    answer = await control.ask(
        "/api/actions/email:x/pause", method=method, headers={"X-CSRF-Token": await control.csrf()}
    )
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


# What no answer holds -------------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"


async def everything(house: House, *refs: str, headers: Mapping[str, str]) -> str:
    """The heads and bodies of all answers that there are."""
    paths = ["/", "/login", "/healthz", "/metrics", "/api/session", "/api/actions", "/nothing"]
    answers = [await house.ask(path, headers=headers) for path in (*paths, *(f"/api/actions/{ref}" for ref in refs))]
    async with house.page(headers=headers) as page:
        state = await page.take()
    return "".join(f"{dict(answer.headers)} {answer.text}" for answer in answers) + str(state)


async def test_no_answer_and_no_line_of_the_log_holds_a_secret(locked: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the token, nor the link of an export, whose holder has the file."""
    caplog.set_level(logging.DEBUG)
    export = locked.sim.add_export(status="done", download_url="https://files.example/x.csv?signature=hush")
    ref = locked.run_job()
    await locked.settle(5)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    text = await everything(locked, ref, f"export:{export.id}", headers=headers)
    await log_in(locked)
    failing = asyncio.create_task(log_in(locked, "a-wrong-token-of-somebody"))
    await locked.sleeping(failing)
    await locked.settle(1)
    text += (await failing).text + caplog.text
    for secret in (TOKEN, locked.sim.api_key, "hush", "files.example", "a-wrong-token"):
        assert secret not in text


async def test_of_a_link_it_is_said_that_there_is_one(house: House) -> None:
    """Whoever wants the file asks for it with a key."""
    done = house.sim.add_export(status="done", download_url="https://files.example/x.csv?signature=hush")
    running = house.sim.add_export(status="in_progress")
    for export, has_link in ((done, True), (running, False)):
        answer = await house.ask(f"/api/actions/export:{export.id}")
        assert answer.json()["action"]["download_url"] is has_link


async def test_what_somebody_wrote_into_a_query_comes_as_data(house: House) -> None:
    """As JSON that says that it is nothing else, so that no browser takes it for a page."""
    query = {"type": "field_condition", "condition": {"type": "text", "mode": "full_words", "value": HOSTILE}}
    ref = house.run_job("email", s_query=query, template_id=HOSTILE, status=HOSTILE)
    await house.settle(2)
    detail = await house.ask(f"/api/actions/{ref}")
    rows = await house.ask("/api/actions")
    for answer in (detail, rows):
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert detail.json()["query"]["json"] == query
    assert (rows.json()["actions"][0]["label"], rows.json()["actions"][0]["status"]) == (HOSTILE, HOSTILE)


async def test_what_somebody_asks_for_is_not_repeated_as_a_page(house: House) -> None:
    """An error that names it is JSON as well."""
    for path in ("/api/actions?kind=%3Cscript%3E", "/api/actions/%3Cscript%3E", "/%3Cscript%3E"):
        answer = await house.ask(path)
        assert answer.status in {400, 404}
        assert answer.headers["Content-Type"] == "application/json"
