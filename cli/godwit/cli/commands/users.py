"""`godwit users`: people who log in with an identity provider, and who of them is kept out."""

import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import path_of
from godwit.domain.wire.login import UserView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("ID"),
    output.Column("NAME", whole=False),
    output.Column("ROLE"),
    output.Column("PROJECT", whole=False),
    output.Column("LAST LOGIN", right=True),
    output.Column("STATE"),
)
UserId = Annotated[str, typer.Argument(help="The id of a person.")]


@app.callback(invoke_without_command=True)
def users(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List people who logged in, with those who are disabled."""
    if context.invoked_subcommand is None:
        list_users(form)


@app.command("list")
def list_users(form: output.FormatOption = output.Format.TABLE) -> None:
    """List people: the same as without a verb."""
    found = list(console.control_plane().pages("/v1/users", UserView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(one, now) for one in found], "nobody logged in with an identity provider yet")


@app.command("disable")
def disable(user: UserId) -> None:
    """Keep a person out; their sessions and tokens end at once."""
    done = console.control_plane().post(path_of("/v1/users", user, "disable"), None, UserView)
    output.note(f"{done.name} is disabled, and logged out everywhere")


@app.command("enable")
def enable(user: UserId) -> None:
    """Let a person log in again."""
    done = console.control_plane().post(path_of("/v1/users", user, "enable"), None, UserView)
    output.note(f"{done.name} may log in again")


def _row(of: UserView, now: float) -> tuple[str, ...]:
    state = "active" if of.disabled_at is None else "disabled"
    return (of.id, of.name, of.role, of.project or "all", figures.ago(of.last_login_at, now), state)
