"""`closebulk login` and `closebulk logout`, as processes with a keyring of their own."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import pytest
from attrs import evolve

from . import keyrings
from .programs import PIPE, SHORT, StillClock, finish, read_until, run, running

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .programs import Finished


@pytest.fixture
def clock() -> StillClock:
    """Tokens expire by the simulator's time and are renewed by the command's: both stand at the present."""
    return StillClock(datetime.now(UTC))


@pytest.fixture
def keyring_file(tmp_path: Path) -> Path:
    """Where the logins are kept."""
    return tmp_path / "keyring.json"


@pytest.fixture
def env(sim: Simulator, keyring_file: Path) -> dict[str, str]:
    """An environment without a key, with a keyring and the secret of the simulator's app."""
    return keyrings.environment_with(
        keyring_file,
        CLOSE_BASE_URL=sim.base_url,
        CLOSE_CLIENT_ID=sim.oauth.client_id,
        CLOSE_CLIENT_SECRET=sim.oauth.client_secret,
    )


def secrets_of(sim: Simulator) -> list[str]:
    """What no output may show."""
    tokens = [text for token in sim.oauth.tokens for text in (token.access_token, token.refresh_token) if text]
    return [sim.oauth.client_secret, *tokens]


async def log_in(sim: Simulator, env: dict[str, str]) -> Finished:
    """Log in with a code that was pasted."""
    return await run("login", "--no-browser", env=env, typed=f"{sim.oauth.make_code()}\n")


async def visit(address: str, *, follows: bool) -> tuple[int, str]:
    """Be the browser: the status and the text of the page, or where it leads to."""
    timeout = aiohttp.ClientTimeout(total=SHORT)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(address, allow_redirects=follows) as page:
        return page.status, await page.text() if follows else page.headers["location"]


async def test_the_address_that_the_browser_came_to_is_pasted(
    sim: Simulator, env: dict[str, str], keyring_file: Path
) -> None:
    """The page is visited, its redirect pasted, and other commands then need no key; no output shows a secret."""
    sim.oauth_rules = evolve(sim.oauth_rules, redirect_uri="https://example.com/callback")
    async with running("login", "--no-browser", env=env, stdin=PIPE) as process:
        address = await read_until(process, "http", stream="stderr")
        status, target = await visit(address, follows=False)
        assert status in {302, 303}
        assert target.startswith("https://example.com/callback?")
        logged_in = await finish(process, typed=f"{target}\n")
    assert logged_in.code == 0
    assert "logged in at" in logged_in.err
    kept = json.loads(keyrings.read(keyring_file)["closebulk_async default"])
    assert kept["token"]["refresh_token"] == sim.oauth.tokens[-1].refresh_token
    sim.add_job("email", age=1000, id="bulkemail_a")
    listed = await run("ls", env=env)
    assert (listed.code, listed.err) == (0, "")
    assert sim.requests[-1].headers["authorization"] == f"Bearer {sim.oauth.tokens[-1].access_token}"
    shown = logged_in.out + logged_in.err + listed.out + address
    assert [secret for secret in secrets_of(sim) if secret in shown] == []


async def test_a_code_alone_is_taken(sim: Simulator, env: dict[str, str]) -> None:
    """Where the redirect address shows it on a page."""
    assert (await log_in(sim, env)).code == 0
    assert (await run("ls", env=env)).code == 0


@pytest.mark.parametrize(
    ("pasted", "complaint"),
    [
        ("https://example.com/?code=abc&state=another", "belongs to another login"),
        ("https://example.com/?code=abc", "lacks its state"),
        ("https://example.com/", "no code"),
        ("", "nothing was pasted"),
        ("no-such-code", "invalid_grant"),
    ],
)
async def test_what_is_no_answer_to_this_login_is_refused(
    sim: Simulator, env: dict[str, str], keyring_file: Path, pasted: str, complaint: str
) -> None:
    """In a line that says why; nothing is kept."""
    finished = await run("login", "--no-browser", env=env, typed=f"{pasted}\n")
    assert finished.code == (1 if pasted == "no-such-code" else 2)
    assert re.search(rf"^closebulk: .*{complaint}", finished.err, re.MULTILINE)
    assert keyrings.read(keyring_file) == {}
    assert sim.oauth.tokens == ()


async def test_a_user_may_say_no(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """The browser comes back with an error."""
    sim.oauth_rules = evolve(sim.oauth_rules, denies=True, redirect_uri="https://example.com/callback")
    async with running("login", "--no-browser", env=env, stdin=PIPE) as process:
        _, target = await visit(await read_until(process, "http", stream="stderr"), follows=False)
        finished = await finish(process, typed=f"{target}\n")
    assert finished.code == 1
    assert "the app was not allowed: access_denied" in finished.err
    assert keyrings.read(keyring_file) == {}


async def test_the_browser_may_come_back_by_itself(sim: Simulator, env: dict[str, str]) -> None:
    """To a port of this machine; whoever else knocks there with another state gets nothing and ends nothing."""
    async with running("login", "--no-browser", "--listen", "0", env=env) as process:
        address = await read_until(process, "http", stream="stderr")
        local = re.search(r"redirect_uri=http%3A%2F%2F127.0.0.1%3A(\d+)%2F", address)
        assert local is not None
        status, _ = await visit(f"http://127.0.0.1:{local[1]}/?code=stolen&state=guessed", follows=True)
        assert status == 400
        status, text = await visit(address, follows=True)
        assert (status, text) == (200, "Go back to closebulk. You can close this page.")
        finished = await finish(process)
    assert finished.code == 0
    assert len(sim.oauth.tokens) == 1


async def test_a_renewed_token_is_kept(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """The old one is good for nothing any more: without that the next command could not go on."""
    await log_in(sim, env)
    for _ in range(2):
        sim.oauth.expire_tokens()
        assert (await run("ls", env=env)).code == 0
    assert sim.oauth.refreshes == 2
    assert str(sim.oauth.tokens[-1].refresh_token) in "".join(keyrings.read(keyring_file).values())


async def test_a_key_goes_first(sim: Simulator, env: dict[str, str]) -> None:
    """Then no keyring is looked at, not even one that does not work."""
    env |= {"CLOSE_API_KEY": sim.api_key, "PYTHON_KEYRING_BACKEND": "no.such.Keyring"}
    assert (await run("ls", env=env)).code == 0
    assert sim.requests[-1].headers["authorization"].startswith("Basic ")


async def test_logout_revokes_and_deletes(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """What was kept is gone here and there; a second time there is nothing to end."""
    await log_in(sim, env)
    ended = await run("logout", env=env)
    assert (ended.code, ended.out) == (0, "")
    assert keyrings.read(keyring_file) == {}
    assert [request.path for request in sim.requests][-1] == "/oauth2/revoke/"
    finished = await run("ls", env=env)
    said = "closebulk: no API key: set CLOSE_API_KEY, or keep a key: closebulk login --api-key\n"
    assert (finished.code, finished.err) == (2, said)
    assert (await run("logout", env=env)).code == 1


async def test_without_a_keyring_nobody_logs_in(sim: Simulator, env: dict[str, str]) -> None:
    """One line, before anything is asked or sent; other commands only miss a key."""
    env |= {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    finished = await run("login", "--no-browser", env=env, typed="code\n")
    assert finished.code == 1
    assert re.fullmatch(r"closebulk: there is no keyring that could keep a login: .*\n", finished.err)
    assert (await run("ls", env=env)).code == 2
    assert sim.requests == ()


async def test_an_app_and_its_secret_have_to_be_given(env: dict[str, str]) -> None:
    """The secret in the environment or on a terminal, never as an argument."""
    for missing, complaint in (("CLOSE_CLIENT_ID", "--client-id"), ("CLOSE_CLIENT_SECRET", "CLOSE_CLIENT_SECRET")):
        finished = await run("login", "--no-browser", env={**env, missing: ""}, typed="code\n")
        assert (finished.code, finished.out) == (2, "")
        assert complaint in finished.err
