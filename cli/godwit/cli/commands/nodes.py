"""`godwit nodes`: the machines of the fleet."""

import time
from collections import Counter
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.domain.nodes import Health
from godwit.domain.wire.views import NodeView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NodeArgument = Annotated[str, typer.Argument(help="A node's id, from `godwit nodes`.")]
COLUMNS = (
    output.Column("ID"),
    output.Column("STATE"),
    output.Column("WHERE", whole=False),
    output.Column("GPUS"),
    output.Column("BUSY", right=True),
    output.Column("PRICE/H", right=True),
    output.Column("HEARD", right=True),
)
HEALTH_AT = 5
OK, NONE = "ok", "-"
"""What is said of a node of which all GPUs are healthy, and of one without any."""


@app.callback(invoke_without_command=True)
def nodes(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also those that are gone.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List the machines of the fleet, what they hold and what they cost; or cordon, drain or terminate one."""
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/nodes", NodeView, {"all": "true" if everything else "false"}))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    columns, rows = list(COLUMNS), [list(row(node, now)) for node in found]
    if any(health(node) not in {OK, NONE} for node in found):
        # A column for what is wrong, where something is: mostly it would say nothing, and 80 characters are few.
        columns.insert(HEALTH_AT, output.Column("HEALTH", whole=False))
        for line, node in zip(rows, found, strict=True):
            line.insert(HEALTH_AT, health(node))
    output.table(columns, rows, "no nodes; they are bought when a job needs them")


@app.command("cordon")
def cordon(node: NodeArgument) -> None:
    """Let no new work start on a node; what runs there goes on."""
    _change(node, "cordon")


@app.command("uncordon")
def uncordon(node: NodeArgument) -> None:
    """Let new work start on a cordoned node again."""
    _change(node, "uncordon")


@app.command("drain")
def drain(node: NodeArgument) -> None:
    """Empty a node and give it back: its jobs are told, and go on elsewhere from their last checkpoints."""
    _change(node, "drain")


@app.command("terminate")
def terminate(node: NodeArgument) -> None:
    """Give a node back now; its jobs go on elsewhere from their last checkpoints."""
    _change(node, "terminate")


def _change(node: str, verb: str) -> None:
    view = console.control_plane().post(f"/v1/nodes/{node}/{verb}", None, NodeView)
    output.note(f"{view.id} is {view.state}; watch with `godwit events --node {view.id} -f`")


def row(node: NodeView, now: float) -> tuple[str, ...]:
    """A node as a line of the table."""
    models = sorted({gpu.model for gpu in node.gpus})
    gpus = f"{'|'.join(models)}:{len(node.gpus)}" if node.gpus else "-"
    busy = sum(1 for gpu in node.gpus if gpu.attempt_id is not None)
    where = f"{node.provider}/{node.region}"
    market = "*" if node.spot else ""
    price = figures.usd(node.price_usd_per_hour) + market
    heard = figures.age(node.last_seen_at, now)
    return (node.id, node.state, where, gpus, f"{busy}/{len(node.gpus)}{load(node)}", price, heard)


def health(node: NodeView) -> str:
    """What is believed of its GPUs: how many are in which state other than healthy."""
    bad = Counter(gpu.health for gpu in node.gpus if gpu.health != Health.HEALTHY)
    return " ".join(f"{count} {state}" for state, count in sorted(bad.items())) or OK if node.gpus else NONE


def load(node: NodeView) -> str:
    """How hard the GPUs that something holds work on average, where its agent told lately."""
    told = [gpu.busy_percent for gpu in node.gpus if gpu.attempt_id is not None and gpu.busy_percent is not None]
    return f" {sum(told) / len(told):.0f}%" if told else ""
