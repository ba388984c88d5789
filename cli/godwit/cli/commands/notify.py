"""`godwit notify`: who outside is told what happens, and whether it arrives."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.notifications import ResentView, TargetView, TrialView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NameArgument = Annotated[str, typer.Argument(help="A receiver's name in config.yaml.")]
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("KIND"),
    output.Column("HOST", whole=False),
    output.Column("TOPICS", whole=False),
    output.Column("PENDING", right=True),
    output.Column("GIVEN UP", right=True),
    output.Column("LAST ANSWER", whole=False),
)


@app.callback(invoke_without_command=True)
def notify(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List who is told of incidents, budgets and ends of jobs; or try one. They stand in config.yaml."""
    if context.invoked_subcommand is not None:
        return
    found = _targets()
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    output.table(
        COLUMNS, [_row(each) for each in found], "nobody is told; name receivers in config.yaml, notifications"
    )


@app.command("test")
def try_one(name: Annotated[str | None, typer.Argument(help="A receiver's name; left out: all.")] = None) -> None:
    """Send a message now and say whether it arrived; fails where one did not."""
    client = console.control_plane()
    names = [name] if name is not None else [target.name for target in _targets()]
    if not names:
        raise Failure("config.yaml names no receivers under notifications; docs/notifications.md shows how")
    tried = [client.post(path_of("/v1/notifications", one, "test"), None, TrialView) for one in names]
    for one in tried:
        print(f"{one.target}: {'arrived' if one.delivered else 'did not arrive'} ({one.detail})")
    if not all(one.delivered for one in tried):
        raise typer.Exit(ExitCode.FAILED)


@app.command("resend")
def resend(name: NameArgument) -> None:
    """Send again what a receiver did not take for a day."""
    found = console.control_plane().post(path_of("/v1/notifications", name, "resend"), None, ResentView)
    output.note(f"{found.count} messages are owed to {found.target} again")


def _targets() -> list[TargetView]:
    return list(console.control_plane().pages("/v1/notifications", TargetView))


def _row(of: TargetView) -> tuple[str, ...]:
    return (of.name, of.kind, of.host, " ".join(of.topics), str(of.pending), str(of.given_up), of.detail or "-")
