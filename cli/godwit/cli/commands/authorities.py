"""`godwit authorities`: who signs the certificates of agents, where they show some."""

import time

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.certificates import AuthorityView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("NUMBER", right=True),
    output.Column("STATE"),
    output.Column("MADE"),
    output.Column("SIGNS"),
    output.Column("KEY"),
)
KEY_CHARACTERS = 16
"""Of the hash of a key: enough to tell a few from each other; JSON has all of it."""


@app.callback(invoke_without_command=True)
def authorities(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List the authorities that sign certificates of agents: who does, who will, and who is believed still."""
    if context.invoked_subcommand is None:
        list_authorities(form)


@app.command("list")
def list_authorities(form: output.FormatOption = output.Format.TABLE) -> None:
    """List the authorities: the same as without a verb."""
    found = list(console.control_plane().pages("/v1/authorities", AuthorityView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(one, now) for one in found], "no authorities: agents show no certificates here")


@app.command("rotate")
def rotate() -> None:
    """Begin a new authority, each year or when you fear for the key. No connection ends for it."""
    made = console.control_plane().post("/v1/authorities", None, AuthorityView)
    signs = figures.duration(max(0.0, made.signs_from - time.time()))
    output.note(f"authority {made.number} is believed now, signs in {signs}, and stands alone as long again after that")


def _row(of: AuthorityView, now: float) -> tuple[str, ...]:
    comes = "now" if of.state == "signs" else "no more"
    signs = f"in {figures.duration(of.signs_from - now)}" if of.state == "coming" else comes
    return (str(of.number), of.state, figures.age(of.created_at, now), signs, of.key[:KEY_CHARACTERS])
