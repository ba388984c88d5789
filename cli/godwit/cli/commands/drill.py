"""`godwit drill`: break something on purpose and watch the fleet heal."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.drills import OF_THE_NODE, TOLD, Drill
from godwit.domain.wire.views import DrillRequest, DrillView

KINDS = "\b\n" + "\n".join(f"  {kind}: {told}" for kind, told in TOLD.items())
"""Each on a line of its own: click re-wraps what does not begin with a backspace."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    help="Break a node or one GPU of it on purpose, and watch the fleet heal; only simulated clouds let one. "
    f"Kinds:\n\n{KINDS}"
)
def drill(
    kind: Annotated[Drill, typer.Argument(help="What to break.", metavar="KIND", show_choices=False)],
    where: Annotated[
        str, typer.Argument(help="A node's id, from `godwit nodes`; of a GPU: NODE:INDEX.", metavar="NODE[:GPU]")
    ],
) -> None:
    """Break something on purpose and watch the fleet heal."""
    node, _, index = where.partition(":")
    if index and not index.isdecimal():
        raise Failure(f"{index!r} is not the index of a GPU; name one as in {node}:0", ExitCode.USAGE)
    if not index and kind not in OF_THE_NODE:
        raise Failure(f"{kind} breaks one GPU; name it, as in {node}:0", ExitCode.USAGE)
    request = DrillRequest(kind=kind, node_id=node, gpu=int(index) if index else None)
    view = console.control_plane().post("/v1/drills", request, DrillView)
    print(view.intent_id)
    output.note(f"{where}: {TOLD[kind]}; watch with `godwit events --node {node} -f` and `godwit incidents`")
