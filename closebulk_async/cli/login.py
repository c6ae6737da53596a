"""`closebulk login` and `closebulk logout`: OAuth in a browser instead of an API key."""

from __future__ import annotations

from typing import Annotated

import typer

from closebulk_async.errors import InvalidRequestError

ClientId = Annotated[
    str | None, typer.Option("--client-id", metavar="ID", envvar="CLOSE_CLIENT_ID", help="The id of your OAuth app.")
]


def login(
    *,
    client_id: ClientId = None,
    redirect_uri: Annotated[
        str | None, typer.Option(metavar="URL", help="The app's redirect address, where it has several.")
    ] = None,
    listen: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Wait for the browser on http://127.0.0.1:PORT/."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the address in a browser.")] = True,
) -> int:
    """Log in with OAuth, for commands without CLOSE_API_KEY.

    Shows an address, where a user of Close allows your app. Close then sends the browser to the app's redirect address:
    paste that whole address here, or the code in it. With --listen the browser comes back to this command, if the app
    may have such a redirect address. The client secret is read from CLOSE_CLIENT_SECRET, or asked for. The login is
    kept in your keyring; `closebulk logout` ends it.
    """
    if listen is not None and redirect_uri is not None:
        raise InvalidRequestError("--listen has a redirect address of its own: leave out --redirect-uri")
    if not client_id:
        raise InvalidRequestError("there is no app to log in to: give --client-id, or set CLOSE_CLIENT_ID")
    from closebulk_async.cli.logging_in import log_in

    return log_in(client_id, redirect_uri=redirect_uri, port=listen, opens_browser=browser)


def logout(*, client_id: ClientId = None) -> int:
    """End the login: its token is revoked, and deleted from your keyring."""
    from closebulk_async.cli.logging_in import log_out

    return log_out(client_id)
