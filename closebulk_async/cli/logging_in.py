"""How somebody logs in: an address for the browser, and what comes back from it."""

from __future__ import annotations

import asyncio
import getpass
import hmac
import os
import secrets
import sys
import webbrowser
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from closebulk_async.cli.calls import current
from closebulk_async.cli.credentials import describe_missing
from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.key_login import tell_kept
from closebulk_async.cli.profiles import Login, Profile, Profiles, base_url_of_environment, chosen_profile
from closebulk_async.cli.texts import cleaned
from closebulk_async.cli.views import print_json
from closebulk_async.errors import CloseBulkError, InvalidRequestError
from closebulk_async.grants import exchange_code, revoke_token
from closebulk_async.oauth_wire import OAuthToken, authorize_url


def log_in(
    client_id: str, *, redirect_uri: str | None, port: int | None, opens_browser: bool, as_json: bool
) -> ExitCode:
    """Log in and keep it. Raises CloseBulkError."""
    name, base_url = chosen_profile(), base_url_of_environment()
    profiles = Profiles()
    profiles.check()
    client_secret = _ask_secret()
    current().hide(client_secret)
    flow = _Flow(client_id, client_secret, base_url=base_url, opens_browser=opens_browser and sys.stderr.isatty())
    token = flow.paste(redirect_uri) if port is None else asyncio.run(flow.listen(port))
    if token.refresh_token is None:
        raise CloseBulkError("the app got no refresh token: it needs the scope offline_access")
    profile = Profile(base_url, Login(client_id, client_secret, token))
    profiles.keep(name, profile)
    tell_kept(name, profile, user_id=token.user_id, as_json=as_json)
    return ExitCode.DONE


def log_out(*, as_json: bool) -> ExitCode:
    """Revoke a login and delete its profile, the one even where the other fails. Raises CloseBulkError.

    A key is only deleted: keys are revoked in Close's settings.
    """
    name, profiles = chosen_profile(), Profiles()
    profile = profiles.find(name)
    if profile is None:
        complain(describe_missing(name))
        return ExitCode.FAILED
    is_revoked = isinstance(profile.holds, Login)
    if isinstance(profile.holds, Login):
        try:
            asyncio.run(_revoke(profile.holds, profile.base_url))
        except CloseBulkError as exc:
            said = "the token is deleted here, but it could not be revoked, and may still be good"
            complain(f"{said}: {exc}", error=exc)
            is_revoked = False
    profiles.forget(name)
    complain(f"the {profile.what} of the profile {name!r} is forgotten")
    if as_json:
        print_json({"profile": name, "holds": profile.what, "base_url": profile.base_url, "is_revoked": is_revoked})
    return ExitCode.FAILED if isinstance(profile.holds, Login) and not is_revoked else ExitCode.DONE


async def _revoke(login: Login, base_url: str) -> None:
    token = login.token.refresh_token or login.token.access_token
    await revoke_token(token, client_id=login.client_id, client_secret=login.client_secret, base_url=base_url)


def _ask_secret() -> str:
    """Not an option: what is typed as one stands in the list of processes, and in the shell's history."""
    secret = os.environ.get("CLOSE_CLIENT_SECRET", "").strip()
    if secret:
        return secret
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise InvalidRequestError("there is no terminal to ask for the client secret on: set CLOSE_CLIENT_SECRET")
    return getpass.getpass("Client secret (not shown): ", stream=sys.stderr).strip()


class _Flow:
    """One login, from the address to the token."""

    def __init__(self, client_id: str, client_secret: str, *, base_url: str, opens_browser: bool) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._base_url = base_url
        self._opens_browser = opens_browser
        self._state = secrets.token_urlsafe(32)

    def paste(self, redirect_uri: str | None) -> OAuthToken:
        """Take what the user pastes: a line on standard input."""
        self._show(redirect_uri)
        print("The address where the browser came to, or the code in it: ", end="", file=sys.stderr, flush=True)
        line = "" if sys.stdin is None else sys.stdin.readline()
        if not (line.endswith("\n") and sys.stdin.isatty()):  # a terminal shows the end of the line that is typed
            print(file=sys.stderr)
        code = read_redirect(line.strip(), state=self._state)
        return asyncio.run(self._exchange(code, redirect_uri))

    async def listen(self, port: int) -> OAuthToken:
        """Take what the browser brings to a port of this machine."""
        arrived: asyncio.Future[str | CloseBulkError] = asyncio.get_running_loop().create_future()

        async def answer(request: web.BaseRequest) -> web.Response:
            if request.path != "/" or request.method != "GET":
                return web.Response(status=404)
            try:
                outcome: str | CloseBulkError = read_redirect(str(request.url), state=self._state)
            except InvalidRequestError:  # not from the page that was shown: somebody else may have sent it
                return web.Response(status=400, text="This is not the answer that closebulk waits for.")
            except CloseBulkError as exc:
                outcome = exc
            if not arrived.done():
                arrived.set_result(outcome)
            return web.Response(text="Go back to closebulk. You can close this page.")

        async with AsyncExitStack() as stack:
            runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
            except OSError as exc:
                raise InvalidRequestError(f"--listen {port} cannot be listened on: {exc.strerror}") from None
            redirect_uri = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            self._show(redirect_uri)
            outcome = await arrived
        if isinstance(outcome, CloseBulkError):
            raise outcome
        return await self._exchange(outcome, redirect_uri)

    def _show(self, redirect_uri: str | None) -> None:
        address = authorize_url(self._client_id, state=self._state, redirect_uri=redirect_uri, base_url=self._base_url)
        print(f"Allow the app here:\n\n{address}\n", file=sys.stderr, flush=True)
        if self._opens_browser:
            webbrowser.open(address)

    async def _exchange(self, code: str, redirect_uri: str | None) -> OAuthToken:
        return await exchange_code(
            code,
            client_id=self._client_id,
            client_secret=self._client_secret,
            redirect_uri=redirect_uri,
            base_url=self._base_url,
        )


def read_redirect(text: str, *, state: str) -> str:
    """The code in the address where the browser came to; a code alone is taken as it is.

    Raises InvalidRequestError where there is none, or it is the answer to another login, and CloseBulkError where the
    user did not allow the app.
    """
    if not text:
        raise InvalidRequestError("nothing was pasted")
    query = parse_qs(urlsplit(text).query)
    if not {"code", "error", "state"} & query.keys():
        if "://" in text:
            raise InvalidRequestError("there is no code in the address that was pasted")
        return text
    if not hmac.compare_digest(query.get("state", [""])[0].encode(), state.encode()):
        raise InvalidRequestError("the address belongs to another login, or lacks its state: start again")
    if "code" not in query:
        raise CloseBulkError(f"the app was not allowed: {cleaned(query.get('error', ['no code'])[0])}")
    return query["code"][0]
