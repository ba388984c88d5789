"""`godwit logout`: end what `godwit login` got, there and here."""

import os
from typing import Annotated

import typer
from godwit.cli import connection, console, logins, output
from godwit.cli.client import Refused, Unreachable
from godwit.cli.exits import ExitCode, Failure

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def logout(
    url: Annotated[
        str | None, typer.Argument(help="Where; left out, where commands go now.", show_default=False)
    ] = None,
) -> None:
    """Log out: the token is ended there and removed here."""
    home = connection.settings(os.environ).home
    kept = logins.read(home)
    where = (url or kept.current).rstrip("/")
    login = kept.known.get(where)
    if login is None:
        known = ", ".join(kept.known) or "nowhere"
        raise Failure(f"you are not logged in at {where or 'any control plane'}; you are: {known}", ExitCode.NOT_FOUND)
    try:
        console.elsewhere(where, login.token).delete("/v1/sessions/current")
    except Unreachable as gone:
        output.note(f"it could not be ended there, and lasts until its own end: {gone.message}")
    except Refused as refused:
        if refused.status != 401:  # it was over before
            raise
    logins.write(home, kept.without(where))
    output.note(f"logged out at {where}")
