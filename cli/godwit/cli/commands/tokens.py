"""`godwit tokens`: who may call the control plane, by which role, on whose behalf, and until when."""

import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain import times
from godwit.domain.access import Role
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.access import TokenMade, TokenView, TokenWanted

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("ID"),
    output.Column("NAME", whole=False),
    output.Column("ROLE"),
    output.Column("PROJECT", whole=False),
    output.Column("USED", right=True),
    output.Column("ENDS", right=True),
)


@app.callback(invoke_without_command=True)
def tokens(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List tokens, with those that are revoked. Their texts are shown once, when they are made."""
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/tokens", TokenView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(one, now) for one in found], "no tokens")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What stories and the audit log call its bearer.")],
    role: Annotated[Role, typer.Option(help="What it may do; each role may do what the ones before it may.")],
    project: Annotated[str | None, typer.Option(help="It touches only what belongs to this project.")] = None,
    expires: Annotated[str | None, typer.Option(help="It ends after this time, such as 90d.")] = None,
) -> None:
    """Make a token and print its text, which is shown this once."""
    try:
        ends_s = None if expires is None else times.duration_s(expires)
    except InvalidRequest as exc:
        raise Failure(f"--expires: {exc.message}; write it like {', '.join(times.DURATIONS)}", ExitCode.USAGE) from exc
    wanted = TokenWanted(name=name, role=role, project=project, expires_in_s=ends_s)
    made = console.control_plane().post("/v1/tokens", wanted, TokenMade)
    print(made.secret)
    output.note(f"made {made.id}; whoever has it sets GODWIT_TOKEN to it. It is not shown again")


@app.command("revoke")
def revoke(token: Annotated[str, typer.Argument(help="The id of a token.")]) -> None:
    """End a token, and the browsers' sessions that speak for it."""
    console.control_plane().delete(path_of("/v1/tokens", token))
    output.note(f"{token} is revoked")


def _row(of: TokenView, now: float) -> tuple[str, ...]:
    ends = "never" if of.expires_at is None else figures.until(of.expires_at, now) if of.expires_at > now else "expired"
    ends = ends if of.revoked_at is None else "revoked"
    return (of.id, of.name or "-", of.role, of.project or "all", figures.ago(of.used_at, now), ends)
