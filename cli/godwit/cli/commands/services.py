"""`godwit services`: what serves, in how many replicas, and how it changes."""

import time
from typing import Annotated

import typer
from godwit.cli import console, output, replicated
from godwit.cli.client import path_of
from godwit.domain.wire.services import MoveWanted, ServiceDetail, ServiceView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NameArgument = Annotated[str, typer.Argument(help="A service's id or name.")]


@app.callback(invoke_without_command=True)
def services(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also those that were removed.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List services: how many replicas take requests, how many are wanted, and which version changes to which."""
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/services", ServiceView, {"deleted": everything}))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    rows = [replicated.row(one, now) for one in found]
    output.table(replicated.COLUMNS, rows, "no services; run one with `kind: service` in its specification")


@app.command("show")
def show(name: NameArgument, form: output.FormatOption = output.Format.TABLE) -> None:
    """Show one service: its replicas, its versions, its traffic, and what keeps it from being as wanted."""
    found = console.control_plane().get(path_of("/v1/services", name), ServiceDetail)
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    print("\n".join(replicated.story(found)), end="\n\n")
    now = time.time()
    rows = [replicated.replica_row(one, now) for one in found.replica_list]
    output.table(replicated.REPLICA_COLUMNS, rows, "no replicas")


@app.command("rm")
def remove(name: NameArgument) -> None:
    """Remove a service: its replicas finish the requests that they have, and stop."""
    console.control_plane().delete(path_of("/v1/services", name))
    output.note(f"{name} is being removed; its replicas drain first")


@app.command("rollback")
def roll_back(name: NameArgument) -> None:
    """Take back a change of versions that is under way."""
    view = console.control_plane().post(path_of("/v1/services", name, "rollback"), None, ServiceView)
    output.note(f"{view.name}: {replicated.rollout(view)}")


@app.command("move")
def move(
    name: Annotated[str, typer.Argument(help="A service, or one of its replicas, by id or name.")],
    to: Annotated[str | None, typer.Option(help="provider[/region[/zone]]; without it: where it costs least.")] = None,
) -> None:
    """Move a service or a replica: others start there first and take requests, then these drain and stop."""
    wanted = MoveWanted() if to is None else MoveWanted(to=to)
    view = console.control_plane().post(path_of("/v1/services", name, "move"), wanted, ServiceView)
    output.note(f"{view.name}: others start {f'at {to}' if to else 'elsewhere'} first; see `godwit services show`")
