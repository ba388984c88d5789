"""`godwit gateway`: become the gateway's process, or write what it serves by for another proxy."""

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import connection
from godwit.cli.exits import Failure

app = typer.Typer(rich_markup_mode=None, add_completion=False)

CACHE = "gateway-routes.json"


RoutesOption = Annotated[
    Path | None, typer.Option(help="A file of routes, instead of a control plane.", show_default=False)
]
TlsOption = Annotated[
    tuple[Path, Path] | None, typer.Option(help="Certificate and key, as PEM files.", show_default=False)
]


@app.callback(invoke_without_command=True)
def gateway(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one; the first line of output says which.")] = 8800,
    routes: RoutesOption = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where the last known routes are kept (default: in the home).")
    ] = None,
    drain_s: Annotated[float, typer.Option(help="How long requests may go on after SIGTERM.")] = 30.0,
    access_log: Annotated[bool, typer.Option(help="Write a line for each request.")] = True,
    tls: TlsOption = None,
) -> None:
    """Run the gateway that takes requests to services, in the foreground."""
    if context.invoked_subcommand is not None:
        return
    more = ["--drain-s", str(drain_s)]
    more += [] if access_log else ["--no-access-log"]
    if routes is None:
        more += ["--cache", str(cache or connection.settings(os.environ).home / CACHE)]
    _become(["--host", host, "--port", str(port), *more], routes, tls)


@app.command("export")
def export(
    envoy: Annotated[bool, typer.Option("--envoy", help="As the bootstrap of an Envoy, in YAML.")] = False,
    host: Annotated[str, typer.Option(help="The address that it listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port that it listens on.")] = 8800,
    routes: RoutesOption = None,
    tls: TlsOption = None,
    keyed: Annotated[
        bool, typer.Option("--keyed", help="Also services that need an API key: something else must check it.")
    ] = False,
) -> None:
    """Write the routes and limits of now as configuration for another proxy."""
    if not envoy:
        raise Failure("say for which proxy: --envoy is the one that there is")
    _become(["export", "--host", host, "--port", str(port), *(["--keyed"] if keyed else [])], routes, tls)


def _become(arguments: list[str], routes: Path | None, tls: tuple[Path, Path] | None) -> None:
    if find_spec("aiohttp") is None or find_spec("uvicorn") is None:
        raise Failure("the gateway is not installed here; install it with: pip install 'godwit[gateway]'")
    environment = dict(os.environ)
    command = [sys.executable, "-m", "godwit.gateway", *arguments]
    if routes is not None:
        command += ["--routes", str(routes)]
    else:
        found = connection.find(connection.settings(os.environ), time.time())
        environment |= {"GODWIT_URL": found.url, "GODWIT_TOKEN": found.token}
    command += ["--tls-certificate", str(tls[0]), "--tls-key", str(tls[1])] if tls else []
    os.execve(sys.executable, command, environment)  # noqa: S606 - this very interpreter, and no shell
