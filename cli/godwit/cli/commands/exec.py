"""`godwit exec`: a command in a dev environment."""

import sys
from typing import Annotated

import typer
from godwit.cli import console, terminal
from godwit.cli.exits import ExitCode

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    name: Annotated[str, typer.Argument(help="A dev environment's id or name.")],
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
) -> None:
    """Run a command in a running dev environment; ends with its exit code.

    At a terminal it gets one too; otherwise its input and output are plain pipes.
    """
    words = command[1:] if command[0] == "--" else command
    is_tty = sys.stdin.isatty() and sys.stdout.isatty()
    code = terminal.run(console.control_plane(), name, words, is_tty=is_tty)
    raise typer.Exit(int(ExitCode.OK) if code == terminal.LEFT else code)
