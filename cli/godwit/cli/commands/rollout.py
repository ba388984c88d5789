"""`godwit rollout`: how a new version of a service comes along; hold it, let it go on, end it, or go back."""

from enum import StrEnum
from typing import Annotated

import typer
from godwit.cli import console, output, replicated
from godwit.cli.client import path_of
from godwit.domain.wire.services import RolloutWanted, ServiceDetail, ServiceView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Action(StrEnum):
    """What may be done with a change of versions."""

    STATUS = "status"
    PAUSE = "pause"
    RESUME = "resume"
    UNDO = "undo"
    PROMOTE = "promote"


@app.command()
def rollout(
    name: Annotated[str, typer.Argument(help="A service's id or name.")],
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.STATUS,
    to: Annotated[int | None, typer.Option(help="With undo: the version to go back to.", min=1)] = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Show a change of versions, or change its course.

    pause holds it where it is, resume lets it go on; promote gives the new version all requests as soon as it has
    replicas for them. undo takes it back, or with none under way goes back to the version before.
    """
    if to is not None and action is not Action.UNDO:
        raise typer.BadParameter("only undo goes back to a version", param_hint="--to")
    client, path = console.control_plane(), path_of("/v1/services", name)
    if action is not Action.STATUS:
        said = {"action": action.value} if to is None else {"action": action.value, "to": to}
        client.post(path_of("/v1/services", name, "rollout"), RolloutWanted.model_validate(said), ServiceView)
    found = client.get(path, ServiceDetail)
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    print("\n".join(replicated.rollout_story(found)))
