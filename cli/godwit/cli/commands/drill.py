"""`godwit drill`: break something on purpose and watch the fleet heal."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.domain.wire.views import DrillRequest, DrillView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def drill() -> None:
    """Break something on purpose and watch the fleet heal."""


@app.command("node-loss")
def node_loss(node: Annotated[str, typer.Argument(help="A node's id, from `godwit nodes`.")]) -> None:
    """Cut the power of a node, as far as its cloud lets one."""
    view = console.control_plane().post("/v1/drills", DrillRequest(kind="node-loss", node_id=node), DrillView)
    print(view.intent_id)
    output.note(f"{node} loses its power; watch with `godwit events --node {node} -f`")
