"""Verbs of the control plane that work on its home: they run on its machine, in a process of its own code."""

import os
import pwd
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import connection
from godwit.cli.exits import Failure

HomeOption = Annotated[Path | None, typer.Option(help="Instead of GODWIT_HOME.", show_default=False)]


def refuse_anothers(home: Path, instead: str) -> None:
    """Raise `Failure`, with what to do `instead`, where `home` is another user's.

    What one writes there keeps its control plane from starting, and what one ends there its service starts again.
    """
    owner = home.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    raise Failure(f"{home} belongs to the user {name}: {instead}, or run this as that user")


def run(verb: str, home: Path | None, *arguments: str) -> None:
    """Carry a verb out on `home`, or on that of the environment. Raises `Failure`; the process said why."""
    if find_spec("fastapi") is None or find_spec("sqlalchemy") is None:
        raise Failure(
            "the control plane is not installed here; run this on its machine, or: pip install 'godwit[server]'"
        )
    where = home.expanduser().absolute() if home else connection.settings(os.environ).home
    command = [sys.executable, "-m", "godwit.control_plane", verb, "--home", str(where), *arguments]
    ended = subprocess.run(command, check=False)
    if ended.returncode != 0:
        raise Failure(f"godwit {verb} did not work (exit code {ended.returncode})")
