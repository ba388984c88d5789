"""`godwit projects`: the tenants of this control plane."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.cli.client import ControlPlane, Refused, path_of
from godwit.domain.projects import ANY_GPU
from godwit.domain.wire.projects import LimitIn, ProjectIn, ProjectView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NOT_FOUND = 404
NameArgument = Annotated[str, typer.Argument(help="A project's name.")]
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("COHORT", whole=False),
    output.Column("WEIGHT", right=True),
    output.Column("RUNNING", right=True),
    output.Column("WAITING", right=True),
    output.Column("LATELY", right=True),
    output.Column("SHARE", right=True),
    output.Column("QUOTA", whole=False),
)


@app.callback(invoke_without_command=True)
def projects(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List projects, their jobs and quotas; or add and remove one. `godwit quota` tells what is used of each quota.

    LATELY is how many GPUs it held on average, old time counting less; SHARE its part of the fleet, for its weight.
    """
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/projects", ProjectView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    output.table(COLUMNS, [_row(each) for each in found], "no projects")


@app.command("add")
def add(name: NameArgument) -> None:
    """Add a project; `godwit quota set` gives it a quota. One that is there already stays as it is."""
    client = console.control_plane()
    if known(client, name) is None:
        client.replace(path_of("/v1/projects", name), ProjectIn(), ProjectView)
    output.note(f"project {name} is there; give it a quota with `godwit quota set {name} --gpus H100=8`")


@app.command("share")
def share_nodes(
    name: NameArgument,
    off: Annotated[bool, typer.Option("--off", help="Keep its jobs on nodes of their own again.")] = False,
) -> None:
    """Let jobs of a project be on a node together with those of other projects that allow it, too."""
    client = console.control_plane()
    before = client.get(path_of("/v1/projects", name), ProjectView)
    limits = {key: LimitIn(nominal=one.nominal, borrow=one.borrow, lend=one.lend) for key, one in before.limits.items()}
    wanted = ProjectIn(
        limits=limits, cohort=before.cohort, weight=before.weight, version=before.version, shares_nodes=not off
    )
    client.replace(path_of("/v1/projects", name), wanted, ProjectView)
    output.note(f"jobs of {name} {'have nodes of their own' if off else 'share nodes with those that share theirs'}")


@app.command("remove")
def remove(name: NameArgument) -> None:
    """Forget a project of which no job is left."""
    console.control_plane().delete(path_of("/v1/projects", name))
    output.note(f"project {name} is removed")


def known(client: ControlPlane, name: str) -> ProjectView | None:
    """A project as it is, if it is there."""
    try:
        return client.get(path_of("/v1/projects", name), ProjectView)
    except Refused as refused:
        if refused.status == NOT_FOUND:
            return None
        raise


def _row(of: ProjectView) -> tuple[str, ...]:
    quota = " ".join(f"{name}={limit.nominal}" for name, limit in of.limits.items())
    counts = (f"{of.weight:g}", str(of.running), str(of.waiting), f"{of.lately.get(ANY_GPU, 0.0):.1f}", share(of))
    return (of.name, of.cohort or "-", *counts, quota or "-")


def share(of: ProjectView) -> str:
    """What it is held to have: of projects that wait, the least goes first."""
    return f"{of.share:.1%}"
