"""`godwit gateway`: become the gateway's process."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import connection
from godwit.cli.exits import Failure

app = typer.Typer(rich_markup_mode=None, add_completion=False)

CACHE = "gateway-routes.json"


@app.command()
def gateway(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one; the first line of output says which.")] = 8800,
    routes: Annotated[
        Path | None, typer.Option(help="A file of routes, instead of a control plane.", show_default=False)
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where the last known routes are kept (default: in the home).")
    ] = None,
    drain_s: Annotated[float, typer.Option(help="How long requests may go on after SIGTERM.")] = 30.0,
    access_log: Annotated[bool, typer.Option(help="Write a line for each request.")] = True,
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Certificate and key, as PEM files.", show_default=False)
    ] = None,
) -> None:
    """Run the gateway that takes requests to services, in the foreground."""
    if find_spec("aiohttp") is None or find_spec("uvicorn") is None:
        raise Failure("the gateway is not installed here; install it with: pip install 'godwit[gateway]'")
    known = connection.settings(os.environ)
    environment = dict(os.environ)
    command = [sys.executable, "-m", "godwit.gateway", "--host", host, "--port", str(port), "--drain-s", str(drain_s)]
    if routes is not None:
        command += ["--routes", str(routes)]
    else:
        found = connection.find(known)
        environment |= {"GODWIT_URL": found.url, "GODWIT_TOKEN": found.token}
        command += ["--cache", str(cache or known.home / CACHE)]
    command += [] if access_log else ["--no-access-log"]
    command += ["--tls-certificate", str(tls[0]), "--tls-key", str(tls[1])] if tls else []
    os.execve(sys.executable, command, environment)  # noqa: S606 - this very interpreter, and no shell
