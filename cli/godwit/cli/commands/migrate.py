"""`godwit migrate`: move a running job to another provider or region, shown with its arithmetic first."""

import sys
import time
from typing import Annotated

import typer
from godwit.cli import console, figures, moving, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.migrations import MigrationPlan, MigrationRequest, MigrationView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def migrate(
    job: Annotated[str, typer.Argument(help="A job's id or name; it must run.")],
    to: Annotated[str | None, typer.Option(help="provider[/region[/zone]]; without it: where it costs least.")] = None,
    store: Annotated[str | None, typer.Option(help="Take its checkpoints along to this store, an fsspec URL.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Let it stay, unless it was told to stop already.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Begin it and return.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; exit code 6 if it cannot go.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Move a running job. It runs on until its new nodes are ready and hold a copy of its newest checkpoint.

    Exits with 0 once it works there, with 1 when it did not come about: then it runs where it ran, or recovers.
    """
    client, path = console.control_plane(), path_of("/v1/jobs", job, "migrations")
    if cancel:
        print(moving.line(client.post(f"{path}/cancel", None, MigrationView)))
        return
    if form is not output.Format.TABLE and not dry_run:
        raise Failure("-o prints a plan for programs, so it goes with --dry-run", ExitCode.USAGE)
    request = MigrationRequest(**{k: v for k, v in (("to", to), ("store", store)) if v is not None})
    plan = client.post(f"{path}/plan", request, MigrationPlan)
    _show(plan, form)
    if plan.why_not or dry_run:
        raise typer.Exit(int(ExitCode.WAITS if plan.why_not else ExitCode.OK))
    if not yes:
        _confirm(plan)
    begun = client.post(path, request, MigrationView)
    if detach:
        print(begun.id)
        return
    raise typer.Exit(int(_follow(path, begun)))


def _show(plan: MigrationPlan, form: output.Format) -> None:
    if form is not output.Format.TABLE:
        output.show(plan, form)
        return
    if plan.why_not:
        output.note(f"{plan.job_name} stays where it is: {plan.why_not}")
        return
    output.note(f"{plan.job_name} would move to {plan.to}")
    for key, count in plan.buys.items():
        output.note(f"  buy {count} x {key}")
    for node_id in plan.keeps:
        output.note(f"  use {node_id}, which is free")
    if plan.sum is not None:
        output.note(plan.sum.text)
        pays = plan.sum.saving_usd - plan.sum.cost_usd
        output.note(f"saves {figures.usd(pays)}" if pays > 0 else f"costs {figures.usd(-pays)}")


def _confirm(plan: MigrationPlan) -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody is at the terminal to confirm this; add -y to move it without asking", ExitCode.USAGE)
    if not typer.confirm(f"Move {plan.job_name}?", default=True, err=True):
        raise Failure("nothing was moved", ExitCode.FAILED)


def _follow(path: str, begun: MigrationView) -> ExitCode:
    try:
        final = moving.to_the_end(console.control_plane, path, begun, output.note, time.sleep)
    except KeyboardInterrupt:
        output.note(f"left it to go on; see it with `godwit explain {begun.job_id}`")
        return ExitCode.OK
    return ExitCode.OK if final.state == "done" else ExitCode.FAILED
