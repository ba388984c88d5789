"""`godwit incidents`: what is wrong with nodes and GPUs, and what is done about it."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from godwit.cli import console, figures, incident_story, output
from godwit.cli.client import path_of
from godwit.cli.exits import Failure
from godwit.domain.health import IncidentState
from godwit.domain.wire.incidents import EvidenceView, IncidentDetail, IncidentView
from typer.core import TyperGroup

IncidentArgument = Annotated[str, typer.Argument(help="An incident's id, from `godwit incidents`.", metavar="ID")]
COLUMNS = (
    output.Column("ID"),
    output.Column("STATE"),
    output.Column("AGE", right=True),
    output.Column("NODE"),
    output.Column("CODE", whole=False),
    output.Column("REMEDY"),
    output.Column("REASON", whole=False),
)


class ByDefault(TyperGroup):
    """A group that lists without a word, and shows the incident that stands where a command could."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in that was left out."""
        first = args[0] if args else "-"
        if first not in {*self.commands, "-h", "--help"}:
            args = ["list" if first.startswith("-") else "show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ByDefault, rich_markup_mode=None, add_completion=False)


@app.callback()
def incidents() -> None:
    """List what is wrong with nodes and GPUs; `godwit incidents ID` tells all of one."""


@app.command("list")
def listed(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also those that are closed.")] = False,
    state: Annotated[
        list[IncidentState] | None, typer.Option(help="Only those in this state; may be repeated.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only those of this node.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those of this provider.")] = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List incidents, the newest first; without a word of yours, this is what is done."""
    params = {"all": "true" if everything else "false", "state": state or None, "node": node, "provider": provider}
    found = list(console.control_plane().pages("/v1/incidents", IncidentView, params))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(each, now) for each in found], "no incidents")


@app.command("show")
def show(
    incident: IncidentArgument,
    evidence: Annotated[
        Path | None, typer.Option(help="Write what the vendor needs to this file, as JSON.", metavar="FILE")
    ] = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Tell all of one incident: `godwit incidents ID`."""
    client = console.control_plane()
    if evidence is not None:
        bundle = client.get(path_of("/v1/incidents", incident, "evidence"), EvidenceView)
        try:
            evidence.write_text(bundle.model_dump_json(indent=2) + "\n")
        except OSError as exc:
            raise Failure(f"cannot write {evidence}: {exc.strerror}; name another file") from exc
        output.note(f"wrote {evidence}; send it to {bundle.machine.provider}: {bundle.summary}")
        return
    found = client.get(path_of("/v1/incidents", incident), IncidentDetail)
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    for line in incident_story.told(found, time.time()):
        print(line)


@app.command("close")
def close(incident: IncidentArgument) -> None:
    """Say that nothing is wrong any more: its devices are healthy, and its node takes work again."""
    _change(incident, "close")


@app.command("retest")
def retest(incident: IncidentArgument) -> None:
    """Say that it was repaired: it is tested, and returns if it passes."""
    _change(incident, "retest")


def _change(incident: str, verb: str) -> None:
    view = console.control_plane().post(path_of("/v1/incidents", incident, verb), None, IncidentView)
    output.note(f"{view.id} is {view.state}")


def _row(of: IncidentView, now: float) -> tuple[str, ...]:
    age = figures.age(of.opened_at, now)
    return (of.id, of.state, age, of.node_id, of.code or of.check, of.remedy, of.reason)
