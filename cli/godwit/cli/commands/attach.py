"""`godwit attach`: a terminal in a dev environment."""

from typing import Annotated

import typer
from godwit.cli import console, output, terminal
from godwit.cli.exits import ExitCode

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def attach(name: Annotated[str, typer.Argument(help="A dev environment's id or name.")]) -> None:
    """Open a login shell in a running dev environment; ends with the shell's exit code.

    Ctrl-] leaves: that ends the shell, and the environment runs on.
    """
    raise typer.Exit(follow(name))


def follow(name: str) -> int:
    """Attach, and say what was left running; returns the exit code for the shell."""
    code = terminal.run(console.control_plane(), name)
    if code != terminal.LEFT:
        return code
    output.note(f"left {name} running; come back with `godwit attach {name}`, end it with `godwit cancel {name}`")
    return int(ExitCode.OK)
