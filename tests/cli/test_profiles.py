"""Profiles: keys and logins that the keyring has under names, and which of them a command uses."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import TYPE_CHECKING

import keyring
import pytest

from closebulk_async import ApiKey, OAuthToken
from closebulk_async.cli.profiles import KeyringError, Login, Profile, Profiles

from . import keyrings
from .programs import COMMAND, PIPE, Finished, environment, finish, read_terminal, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from closebulk_async.simulator import Simulator

MISSING_KEY = "closebulk: no API key: set CLOSE_API_KEY, or keep a key: closebulk login --api-key\n"
OTHER_KEY = "api_5other5other.6other6other"


@pytest.fixture
def keyring_file(tmp_path: Path) -> Path:
    """Where the profiles are kept."""
    return tmp_path / "keyring.json"


@pytest.fixture
def env(sim: Simulator, keyring_file: Path) -> dict[str, str]:
    """An environment without a key."""
    return keyrings.environment_with(keyring_file, CLOSE_BASE_URL=sim.base_url)


@pytest.fixture
def profiles(keyring_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Profiles]:
    """The profiles of this process."""
    monkeypatch.setenv(keyrings.FILE, str(keyring_file))
    of_others = keyring.get_keyring()
    keyring.set_keyring(keyring.core.load_keyring(keyrings.NAME))
    yield Profiles()
    keyring.set_keyring(of_others)


def keep(file: Path, base_url: str, **keys: str) -> None:
    """Put keys into the keyring, each under the name of its profile, as `login` would."""
    kept = {name: json.dumps({"base_url": base_url, "api_key": key}) for name, key in keys.items()}
    file.write_text(json.dumps({f"closebulk_async {name}": text for name, text in kept.items()}))


def key_of(sim: Simulator) -> str:
    """The key of the latest request."""
    kind, _, encoded = sim.requests[-1].headers["authorization"].partition(" ")
    assert kind == "Basic"
    return base64.b64decode(encoded).decode().removesuffix(":")


async def test_a_key_is_read_tried_and_kept(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """From a pipe it takes one line; commands then need no other key, and nothing that is written shows it."""
    kept = await run("login", "--api-key", env=env, typed=f"{sim.api_key}\nand more\n")
    said = f"closebulk: logged in at {sim.base_url} as {sim.user_id}; kept as the profile 'default'\n"
    assert kept == Finished(0, "", said)
    assert [request.path for request in sim.requests] == ["/api/v1/me/"]
    assert json.loads(keyrings.read(keyring_file)["closebulk_async default"]) == {
        "base_url": sim.base_url,
        "api_key": sim.api_key,
    }
    listed = await run("limits", "--debug", env=env)
    assert (listed.code, key_of(sim)) == (0, sim.api_key)
    assert sim.api_key not in kept.out + kept.err + listed.out + listed.err


async def test_a_key_is_typed_without_being_shown(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """On a terminal the command asks, and the terminal shows nothing of the answer."""
    terminal, its_end = os.openpty()
    # In a session of its own: a program may also ask on the terminal of the session, which is that of the tester.
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "login", "--api-key", env=env, stdin=its_end, stdout=PIPE, stderr=its_end, start_new_session=True
    )
    os.close(its_end)
    shown = await asyncio.to_thread(read_terminal, terminal, "API key (not shown): ")
    os.write(terminal, f"{sim.api_key}\n".encode())
    rest = asyncio.create_task(asyncio.to_thread(read_terminal, terminal))
    done = await finish(process)
    shown += await rest
    os.close(terminal)
    assert (done.code, done.out) == (0, "")
    assert "logged in at" in shown
    assert sim.api_key not in shown
    assert sim.api_key in keyrings.read(keyring_file)["closebulk_async default"]


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("api_wrong\n", 1, "GET /me/ was answered with 401 Unauthorized: Unauthorized"),
        ("", 2, "no API key was given: type it, or send it through standard input"),
        ("\n", 2, "no API key was given: type it, or send it through standard input"),
        ("two words\n", 2, "what was given is no key: ApiKey: the key must be printable ASCII without spaces, and not"),
    ],
)
async def test_what_is_no_good_key_is_not_kept(
    env: dict[str, str], keyring_file: Path, typed: str, code: int, said: str
) -> None:
    """One line says why."""
    finished = await run("login", "--api-key", env=env, typed=typed)
    assert (finished.code, finished.out, finished.err.count("\n")) == (code, "", 1)
    assert finished.err.startswith(f"closebulk: {said}")
    assert keyrings.read(keyring_file) == {}


async def test_a_key_is_no_argument(sim: Simulator, env: dict[str, str]) -> None:
    """`--api-key` has no value; a key that is typed there all the same is refused, and not repeated."""
    for arguments in (["--api-key", OTHER_KEY], [f"--api-key={OTHER_KEY}"]):
        finished = await run("login", *arguments, "--debug", env=env)
        assert (finished.code, finished.out) == (2, "")
        assert OTHER_KEY not in finished.err
    assert sim.requests == ()


async def test_browsers_are_for_logins(env: dict[str, str]) -> None:
    """Options of the one way do not fit the other."""
    finished = await run("login", "--api-key", "--listen", "0", env=env)
    said = "closebulk: --api-key needs no browser: leave out --listen and --redirect-uri\n"
    assert finished == Finished(2, "", said)


@pytest.mark.parametrize(
    ("arguments", "variables", "chosen"),
    [
        ("--profile work limits", {"CLOSE_API_KEY": "api_environment", "CLOSEBULK_PROFILE": "home"}, "api_work"),
        ("limits --profile work", {"CLOSE_API_KEY": "api_environment"}, "api_work"),
        ("--profile home limits --profile work", {}, "api_work"),
        ("limits", {"CLOSE_API_KEY": "api_environment", "CLOSEBULK_PROFILE": "home"}, "api_environment"),
        ("limits", {"CLOSEBULK_PROFILE": "home"}, "api_home"),
        ("limits", {"CLOSEBULK_PROFILE": ""}, "api_default"),
        ("limits", {}, "api_default"),
    ],
)
async def test_which_one_is_used(
    sim: Simulator, keyring_file: Path, arguments: str, variables: dict[str, str], chosen: str
) -> None:
    """The option goes before CLOSE_API_KEY, that before CLOSEBULK_PROFILE, and that before the default."""
    keep(keyring_file, sim.base_url, work="api_work", home="api_home", default="api_default")
    env = keyrings.environment_with(keyring_file, CLOSE_BASE_URL=sim.base_url, **variables)
    await run(*arguments.split(), env=env)
    assert key_of(sim) == chosen


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (
            ["--profile", "work"],
            {"CLOSE_API_KEY": "api_environment"},
            "there is no profile 'work': closebulk login --pro",
        ),
        (
            [],
            {"CLOSEBULK_PROFILE": "work"},
            "there is no profile 'work': closebulk login --profile work, with --api-key",
        ),
        (["--profile", "default"], {}, "there is no profile 'default': closebulk login, with --api-key to keep a key"),
        (["--profile", "a b"], {}, "--profile must be letters, digits and . _ - (64 at most), and is 'a b'"),
        (
            [],
            {"CLOSEBULK_PROFILE": "-"},
            "CLOSEBULK_PROFILE must be letters, digits and . _ - (64 at most), and is '-'",
        ),
        (["--profile", ""], {}, "--profile must be letters"),
        ([], {}, "no API key: set CLOSE_API_KEY, or keep a key: closebulk login --api-key"),
    ],
)
async def test_a_profile_that_is_not_there(
    sim: Simulator, env: dict[str, str], arguments: list[str], variables: dict[str, str], said: str
) -> None:
    """Who asks for one by its name is never somebody else; without a name there is only no key."""
    finished = await run("limits", *arguments, env=env | variables)
    assert (finished.code, finished.out, finished.err.count("\n")) == (2, "", 1)
    assert finished.err.startswith(f"closebulk: {said}")
    assert sim.requests == ()


async def test_without_a_keyring_there_is_no_profile(sim: Simulator, env: dict[str, str]) -> None:
    """Neither one that was asked for by its name, nor one to fall back to."""
    env |= {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    assert "there is no profile 'work'" in (await run("limits", "--profile", "work", env=env)).err
    assert await run("limits", env=env) == Finished(2, "", MISSING_KEY)
    assert sim.requests == ()


async def test_without_the_extra(env: dict[str, str]) -> None:
    """A profile that was asked for names what to install; without one there is only no key."""
    for arguments, said in (
        (["limits", "--profile", "work"], "closebulk: this needs the extra 'login': pip install"),
        (["limits"], MISSING_KEY),
    ):
        code = (
            "import sys; sys.modules['keyring'] = None\n"  # what importing an absent module comes down to
            "from closebulk_async.cli import main\n"
            f"sys.exit(main({arguments!r}))\n"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=env, stdout=PIPE, stderr=PIPE)
        finished = await finish(process)
        assert finished.code == 2
        assert finished.err.startswith(said)


async def test_a_key_goes_to_its_own_base_url_alone(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """A profile that was typed goes where it belongs; any other is not used where CLOSE_BASE_URL says otherwise."""
    keep(keyring_file, sim.base_url, default=sim.api_key)
    elsewhere = env | {"CLOSE_BASE_URL": "http://127.0.0.1:9/api/v1"}
    refused = await run("limits", env=elsewhere)
    assert (refused.code, refused.out) == (2, "")
    assert f"is of {sim.base_url}, and CLOSE_BASE_URL says http://127.0.0.1:9/api/v1" in refused.err
    assert sim.requests == ()
    assert (await run("limits", "--profile", "default", env=elsewhere)).code == 0
    del env["CLOSE_BASE_URL"]
    assert (await run("limits", env=env)).code == 0


@pytest.mark.parametrize(
    "kept",
    [
        "no object",
        {"api_key": "api_1"},
        {"base_url": "http://close.example/api/v1", "api_key": "api_1"},
        {"base_url": "https://api.close.com/api/v1", "api_key": 5},
        {"base_url": "https://api.close.com/api/v1", "client_id": "a", "client_secret": "b", "token": {}},
        {
            "base_url": "https://api.close.com/api/v1",
            "client_id": "a",
            "client_secret": "b",
            "token": {"access_token": "t"},
        },
    ],
)
def test_what_another_version_has_written_is_no_profile(keyring_file: Path, profiles: Profiles, kept: object) -> None:
    """It is not guessed at."""
    keyring_file.write_text(json.dumps({"closebulk_async default": json.dumps(kept)}))
    assert profiles.find("default") is None


def test_a_keyring_that_is_locked(profiles: Profiles) -> None:
    """That is an error of its own, and not the same as no profile."""
    keyring.set_keyring(keyring.core.load_keyring(f"{keyrings.__name__}.LockedKeyring"))
    profile = Profile("https://api.close.com/api/v1", ApiKey("api_1"))
    with pytest.raises(KeyringError, match="cannot be read: it is locked"):
        profiles.find("default")
    with pytest.raises(KeyringError, match="cannot be written: it is locked"):
        profiles.keep("default", profile)
    with pytest.raises(KeyringError, match="cannot be deleted from the keyring: it is locked"):
        profiles.forget("default")
    with pytest.raises(KeyringError, match="no keyring that could keep a login: it is locked"):
        profiles.check()


def test_profiles_do_not_show_what_they_hold() -> None:
    """Not by accident, in a log or a traceback."""
    login = Login("oa2client_1", "secret1secret", OAuthToken(access_token="token1token", refresh_token="token2token"))
    secrets = "api_1secret1", "secret1secret", "token1token", "token2token"
    for holds in (ApiKey("api_1secret1"), login):
        shown = repr(Profile("https://api.close.com/api/v1", holds)) + repr(holds)
        assert [secret for secret in secrets if secret in shown] == []


async def test_a_key_is_forgotten(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """That of one profile, without a request; a second time there is nothing to forget."""
    keep(keyring_file, sim.base_url, work=sim.api_key, default=sim.api_key)
    forgotten = await run("logout", "--profile", "work", "--json", env=env)
    assert (forgotten.code, forgotten.err) == (0, "closebulk: the API key of the profile 'work' is forgotten\n")
    assert json.loads(forgotten.out) == {
        "profile": "work",
        "holds": "API key",
        "base_url": sim.base_url,
        "is_revoked": False,
    }
    assert keyrings.read(keyring_file).keys() == {"closebulk_async default"}
    again = await run("logout", "--profile", "work", env=env)
    assert (again.code, again.out) == (1, "")
    assert again.err.startswith("closebulk: there is no profile 'work'")
    assert sim.requests == ()


async def test_a_login_has_a_name_as_well(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """OAuth and keys are side by side; `--json` says what was kept, and a key of the environment is warned of."""
    keep(keyring_file, sim.base_url, default=sim.api_key)
    env |= {
        "CLOSE_CLIENT_ID": sim.oauth.client_id,
        "CLOSE_CLIENT_SECRET": sim.oauth.client_secret,
        "CLOSEBULK_PROFILE": "oauth",
    }
    kept = await run(
        "login", "--no-browser", "--json", env=env | {"CLOSE_API_KEY": "api_1"}, typed=f"{sim.oauth.make_code()}\n"
    )
    assert kept.code == 0
    assert json.loads(kept.out) == {
        "profile": "oauth",
        "holds": "login",
        "base_url": sim.base_url,
        "user_id": sim.user_id,
    }
    assert "closebulk: CLOSE_API_KEY is set and goes before it: unset it, or say --profile oauth\n" in kept.err
    assert keyrings.read(keyring_file).keys() == {"closebulk_async default", "closebulk_async oauth"}
    await run("limits", env=env)
    assert sim.requests[-1].headers["authorization"] == f"Bearer {sim.oauth.tokens[-1].access_token}"
    await run("limits", "--profile", "default", env=env)
    assert key_of(sim) == sim.api_key


async def test_what_goes_on_goes_on_as_the_same(sim: Simulator, env: dict[str, str], keyring_file: Path) -> None:
    """A command that is shown names the profile that was typed."""
    keep(keyring_file, sim.base_url, work=sim.api_key)
    plan = sim.plan.changed({"duration": 1000})
    ref = f"email:{sim.add_job('email', plan=plan).id}"
    late = await run("watch", ref, "--timeout", "0.2", "--profile", "work", env=env)
    assert late.code == 3
    assert late.err.splitlines()[-1] == f"closebulk: to go on watching: closebulk --profile work watch {ref}"


async def test_the_demo_has_no_profile() -> None:
    """It never talks to Close, as whomever."""
    finished = await run("demo", "--profile", "work", env=environment())
    assert finished.code == 2
    assert "No such option" in finished.err
