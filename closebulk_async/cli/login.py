"""`closebulk login` and `closebulk logout`: who one is, kept in the keyring under a name."""

from __future__ import annotations

from typing import Annotated

import typer

from closebulk_async.cli.options import Json
from closebulk_async.errors import InvalidRequestError


def login(
    *,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Keep an API key: it is asked for, or read from standard input.")
    ] = False,
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", metavar="ID", envvar="CLOSE_CLIENT_ID", help="The id of your OAuth app."),
    ] = None,
    redirect_uri: Annotated[
        str | None, typer.Option(metavar="URL", help="The app's redirect address, where it has several.")
    ] = None,
    listen: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Wait for the browser on http://127.0.0.1:PORT/."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the address in a browser.")] = True,
    as_json: Json = False,
) -> int:
    """Keep an API key or an OAuth login in your keyring.

    Commands without CLOSE_API_KEY use it, and those with --profile. It is kept under the name of the profile
    (--profile, CLOSEBULK_PROFILE or `default`), in place of an earlier one, and for the base URL of now. With --api-key
    the key is typed without being shown, or comes through a pipe; it is never an argument, which others could read in
    the list of processes. It is tried before it is kept.

    Without --api-key an address is shown, where a user of Close allows your app. Close then sends the browser to the
    app's redirect address: paste that whole address here, or the code in it. With --listen the browser comes back to
    this command, if the app may have such a redirect address. The client secret is read from CLOSE_CLIENT_SECRET, or
    asked for. `closebulk logout` ends it.
    """
    if listen is not None and redirect_uri is not None:
        raise InvalidRequestError("--listen has a redirect address of its own: leave out --redirect-uri")
    if api_key:
        if listen is not None or redirect_uri is not None:
            raise InvalidRequestError("--api-key needs no browser: leave out --listen and --redirect-uri")
        from closebulk_async.cli.key_login import keep_key

        return keep_key(as_json=as_json)
    if not client_id:
        raise InvalidRequestError(
            "there is no app to log in to: give --client-id, or set CLOSE_CLIENT_ID; or keep an API key: --api-key"
        )
    from closebulk_async.cli.logging_in import log_in

    return log_in(client_id, redirect_uri=redirect_uri, port=listen, opens_browser=browser, as_json=as_json)


def logout(*, as_json: Json = False) -> int:
    """Forget a profile, and revoke its login.

    It is deleted from your keyring: --profile, CLOSEBULK_PROFILE or `default`. An API key stays good until somebody
    deletes it in Close.
    """
    from closebulk_async.cli.logging_in import log_out

    return log_out(as_json=as_json)
