"""`godwit up`: start the control plane as a process of its own, and wait until it serves."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import httpx
import typer
from godwit.cli import connection, output, own_plane
from godwit.cli.exits import Failure
from godwit.domain.wire.views import ServerView
from pydantic import ValidationError

app = typer.Typer(rich_markup_mode=None, add_completion=False)
START_S = 60.0
"""A first start migrates an empty database and starts the simulated clouds: seconds; a busy laptop may need more."""

POLL_S = 0.1
LAST_LINES = 15


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it serves; without, stay in the foreground.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Instead of GODWIT_HOME.", show_default=False)] = None,
) -> None:
    """Start the control plane on this machine, with the providers of its config.yaml."""
    where = home.expanduser().absolute() if home else connection.settings(os.environ).home
    running = serving(where)
    if running is not None:
        print(f"godwit is already up at {running} (home {where})")
        return
    if find_spec("fastapi") is None or find_spec("sqlalchemy") is None:
        raise Failure("the control plane is not installed here; install it with: pip install 'godwit[server]'")
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    own_plane.refuse_anothers(
        where, "start its service instead (`systemctl start godwit`), which knows its database too"
    )
    command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(where)]
    if not detach:
        output.note(f"starting the control plane (home {where}); Ctrl-C stops it")
        os.execv(sys.executable, command)  # noqa: S606 - this very interpreter, and no shell
    url = _start(command, where)
    print(f"godwit is up at {url} (home {where})")
    print("next:  godwit offers --gpus H100:1\n       godwit run examples/digits/job.yaml\n       godwit down")


def serving(home: Path) -> str | None:
    """The URL at which this home's control plane answers now, or the first of several; None when none does."""
    return next((str(record["url"]) for record in connection.read_records(home) if _is_it(record)), None)


def _is_it(record: dict[str, object]) -> bool:
    """Whether the control plane of a record answers where it says."""
    try:
        answer = httpx.get(f"{record['url']}/v1/version", timeout=2.0, trust_env=False)
        server = ServerView.model_validate_json(answer.content)
    except (httpx.TransportError, ValidationError):
        return False
    # Another program, or another home's control plane, may have taken the port since.
    return record.get("identity") in (None, server.identity)


def _start(command: list[str], home: Path) -> str:
    log = home / connection.LOG
    with log.open("ab") as out:
        started_at = out.tell()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + START_S
    told = False
    while time.monotonic() < deadline:
        url = serving(home)
        if url is not None:
            return url
        if process.poll() is not None:
            raise Failure(
                f"the control plane ended with exit code {process.returncode} as it started:\n"
                f"{_last_lines(log, started_at)}"
            )
        if not told and deadline - time.monotonic() < START_S - 2:
            output.note("waiting for the control plane to serve...")
            told = True
        time.sleep(POLL_S)
    process.terminate()
    raise Failure(
        f"the control plane did not serve within {START_S:.0f} s; the end of {log}:\n{_last_lines(log, started_at)}"
    )


def _last_lines(log: Path, start: int) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - 16_384))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (it said nothing)"
