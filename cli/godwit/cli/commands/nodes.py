"""`godwit nodes`: the machines of the fleet."""

import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.views import NodeView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("ID"),
    output.Column("STATE"),
    output.Column("WHERE", whole=False),
    output.Column("GPUS"),
    output.Column("BUSY", right=True),
    output.Column("PRICE/H", right=True),
    output.Column("HEARD", right=True),
)


@app.command()
def nodes(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also those that are gone.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List the machines of the fleet, what they hold and what they cost."""
    found = list(console.control_plane().pages("/v1/nodes", NodeView, {"all": "true" if everything else "false"}))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [row(node, now) for node in found], "no nodes; they are bought when a job needs them")


def row(node: NodeView, now: float) -> tuple[str, ...]:
    """A node as a line of the table."""
    models = sorted({gpu.model for gpu in node.gpus})
    gpus = f"{'|'.join(models)}:{len(node.gpus)}" if node.gpus else "-"
    busy = sum(1 for gpu in node.gpus if gpu.attempt_id is not None)
    where = f"{node.provider}/{node.region}"
    market = "*" if node.spot else ""
    price = figures.usd(node.price_usd_per_hour) + market
    heard = figures.age(node.last_seen_at, now)
    return (node.id, node.state, where, gpus, f"{busy}/{len(node.gpus)}", price, heard)
