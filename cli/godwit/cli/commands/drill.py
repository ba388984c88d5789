"""`godwit drill`: break something on purpose and watch the fleet heal."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.drills import OF_THE_NODE, OF_THE_WORK, TOLD, Drill
from godwit.domain.wire.views import DrillRequest, DrillView

KINDS = "\b\n" + "\n".join(f"  {kind}: {told}" for kind, told in TOLD.items())
"""Each on a line of its own: click re-wraps what does not begin with a backspace."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    help="Break a node, one GPU of it, or the program there on purpose, and watch the fleet heal; only simulated "
    f"clouds let one. A job stands for the first node of its attempt. Kinds:\n\n{KINDS}"
)
def drill(
    kind: Annotated[Drill, typer.Argument(help="What to break.", metavar="KIND", show_choices=False)],
    where: Annotated[
        str,
        typer.Argument(
            help="A node's id, from `godwit nodes`, or a job; of a GPU: NODE:INDEX.", metavar="NODE|JOB[:INDEX]"
        ),
    ],
) -> None:
    """Break something on purpose and watch the fleet heal."""
    name, _, index = where.partition(":")
    if index and not index.isdecimal():
        raise Failure(f"{index!r} is not the index of a GPU; name one as in {name}:0", ExitCode.USAGE)
    if not index and kind not in OF_THE_NODE | OF_THE_WORK:
        raise Failure(f"{kind} breaks one GPU; name it, as in {name}:0", ExitCode.USAGE)
    place = {"node_id": name} if name.startswith("node-") else {"job": name}
    request = DrillRequest(kind=kind, gpu=int(index) if index else None, **place)
    view = console.control_plane().post("/v1/drills", request, DrillView)
    print(view.intent_id)
    output.note(f"{where}: {TOLD[kind]}; watch with `godwit events --node {view.node_id} -f` and `godwit incidents`")
