"""`godwit events`: what happened, oldest first."""

import json
from collections import deque
from typing import Annotated

import typer
from godwit.cli import console, figures, following, output, watch
from godwit.domain.wire.views import EventView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def events(
    job: Annotated[str | None, typer.Option(help="Only the story of this job.")] = None,
    node: Annotated[str | None, typer.Option(help="Only the story of this node.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only those after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 200,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as things happen, until Ctrl-C.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Show what happened, oldest first."""
    client = console.control_plane()
    params = {"job": job, "node": node}
    kept = deque(client.pages("/v1/events", EventView, {**params, "after": after, "limit": 500}), maxlen=limit)
    if not follow and form is not output.Format.TABLE:
        output.show(list(kept), form)
        return
    for event in kept:
        _show(event, form)
    if not follow:
        return
    last_seen = kept[-1].seq if kept else after
    try:
        for heard in following.follow(console.control_plane, "/v1/events/stream", {**params, "after": last_seen}):
            _heard(heard, node, form)
    except KeyboardInterrupt:
        output.note("")


def _heard(
    heard: following.StreamEvent | following.Away | following.Back, node: str | None, form: output.Format
) -> None:
    if isinstance(heard, following.Away):
        output.note(f"[godwit] {heard.message}; trying again for {following.PATIENCE_S / 60:.0f} minutes")
    elif isinstance(heard, following.Back):
        output.note("[godwit] the control plane answers again")
    else:
        event = EventView.model_validate(heard.data)
        if node is None or event.node_id == node:
            _show(event, form)


def _show(event: EventView, form: output.Format) -> None:
    if form is not output.Format.TABLE:
        print(json.dumps(event.model_dump(mode="json")), flush=True)
        return
    told = f"{event.subject} {event.subject_id} {watch.change_of(event)}: {event.reason}"
    print(f"{figures.clock(event.at)} {told}", flush=True)
    for line in event.data.get("last_lines", ()):
        print(f"  {line}", flush=True)
