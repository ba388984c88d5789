"""`godwit tokens`: who may call the control plane, by which role, on whose behalf, and until when."""

import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain import times
from godwit.domain.access import Role, Scope
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.access import RotationWanted, TokenMade, TokenView, TokenWanted

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("ID"),
    output.Column("NAME", whole=False),
    output.Column("ROLE"),
    output.Column("SCOPES", whole=False),
    output.Column("PROJECT", whole=False),
    output.Column("USED", right=True),
    output.Column("ENDS", right=True),
)

SOON_S = 7 * 86_400.0
"""A token that ends within a week is told of: so long it takes to reach whoever uses it."""


@app.callback(invoke_without_command=True)
def tokens(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List tokens, with those that are revoked. Their texts are shown once, when they are made."""
    if context.invoked_subcommand is None:
        list_tokens(form)


@app.command("list")
def list_tokens(form: output.FormatOption = output.Format.TABLE) -> None:
    """List tokens: the same as without a verb."""
    found = list(console.control_plane().pages("/v1/tokens", TokenView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(one, now) for one in found], "no tokens")
    for one in found:
        if _ends_soon(one, now):
            ends = figures.until(one.expires_at or now, now)
            output.note(f"{one.name} ends {ends}; whoever uses it needs another text: `godwit tokens rotate {one.id}`")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What stories and the audit log call its bearer.")],
    role: Annotated[Role, typer.Option(help="What it may do; each role may do what the ones before it may.")],
    project: Annotated[str | None, typer.Option(help="It touches only what belongs to this project.")] = None,
    expires: Annotated[str | None, typer.Option(help="It ends after this time, such as 90d.")] = None,
    scope: Annotated[str | None, typer.Option(help=f"Only these groups of routes: {', '.join(Scope)}.")] = None,
) -> None:
    """Make a token and print its text, which is shown this once."""
    ends_s = None if expires is None else _duration_s("--expires", expires)
    fields = {"name": name, "role": role, "project": project, "expires_in_s": ends_s}
    # Left out where there is none, so that a control plane of before takes the rest.
    wanted = TokenWanted.model_validate(fields | ({} if scope is None else {"scopes": _scopes(scope)}))
    made = console.control_plane().post("/v1/tokens", wanted, TokenMade)
    print(made.secret)
    output.note(f"made {made.id}; whoever has it sets GODWIT_TOKEN to it. It is not shown again")


@app.command("rotate")
def rotate(
    token: Annotated[str, typer.Argument(help="The id of a token.")],
    overlap: Annotated[str, typer.Option(help="The old text is good for this time still, such as 24h; or 0.")] = "24h",
) -> None:
    """Give a token another text, and print that this once; the old one ends after the overlap."""
    wanted = RotationWanted(overlap_s=0 if overlap == "0" else _duration_s("--overlap", overlap))
    made = console.control_plane().post(path_of("/v1/tokens", token, "rotate"), wanted, TokenMade)
    print(made.secret)
    ends = "has ended" if overlap == "0" else f"ends in {overlap}"
    output.note(f"made {made.id} in place of {token}, which {ends}. The text is not shown again")


@app.command("revoke")
def revoke(token: Annotated[str, typer.Argument(help="The id of a token.")]) -> None:
    """End a token, and the browsers' sessions that speak for it."""
    console.control_plane().delete(path_of("/v1/tokens", token))
    output.note(f"{token} is revoked")


def _duration_s(option: str, text: str) -> float:
    try:
        return times.duration_s(text)
    except InvalidRequest as exc:
        raise Failure(f"{option}: {exc.message}; write it like {', '.join(times.DURATIONS)}", ExitCode.USAGE) from exc


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(one.strip()) for one in text.split(",")]
    except ValueError as exc:
        what = f"--scope: {exc}; write some of {', '.join(Scope)}, with commas between"
        raise Failure(what, ExitCode.USAGE) from exc


def _ends_soon(of: TokenView, now: float) -> bool:
    is_login = of.user_id is not None or of.parent_id is not None
    is_over = of.revoked_at is not None or of.expires_at is None or of.expires_at <= now
    return not is_over and not is_login and (of.expires_at or 0.0) - now < SOON_S


def _row(of: TokenView, now: float) -> tuple[str, ...]:
    ends = "never" if of.expires_at is None else figures.until(of.expires_at, now) if of.expires_at > now else "expired"
    ends = ends if of.revoked_at is None else "revoked"
    scopes = ",".join(of.scopes) or "all"
    return (of.id, of.name or "-", of.role, scopes, of.project or "all", figures.ago(of.used_at, now), ends)
