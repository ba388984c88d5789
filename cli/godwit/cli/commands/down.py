"""`godwit down`: stop the control plane of this machine, its simulated clouds and their nodes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import connection, own_plane
from godwit.cli.exits import ExitCode, Failure

app = typer.Typer(rich_markup_mode=None, add_completion=False)
STOP_S = 120.0
"""Nodes get seconds to end their attempts, one cloud after the other."""


@app.command()
def down(
    home: Annotated[Path | None, typer.Option(help="Instead of GODWIT_HOME.", show_default=False)] = None,
) -> None:
    """Stop the control plane, the simulated clouds and their nodes.

    Jobs that run there end; what is committed stays. A control plane with a name (GODWIT_REPLICA) or of another user
    is a service: end that with `systemctl stop godwit`. Here it is refused, and nothing is stopped.
    """
    where = home.expanduser().absolute() if home else connection.settings(os.environ).home
    if not where.exists():
        print(f"nothing to stop: there is no {where}")
        return
    own_plane.refuse_anothers(where, "stop its service instead (`systemctl stop godwit`)")
    command = [sys.executable, "-m", "godwit.control_plane", "stop", "--home", str(where)]
    try:
        ended = subprocess.run(command, check=False, timeout=STOP_S)
    except subprocess.TimeoutExpired as exc:
        raise Failure(
            f"stopping took more than {STOP_S:.0f} s; run it again, or look into {where / connection.LOG}"
        ) from exc
    if ended.returncode == ExitCode.CONFLICT:
        raise typer.Exit(ended.returncode)  # it said why, and what to do
    if ended.returncode != 0:
        raise Failure(f"not everything was stopped (exit code {ended.returncode}); run it again")
    print("godwit is down")
