"""What a gateway is told when it starts."""

import argparse
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from godwit.domain.errors import InvalidRequest
from godwit.domain.given import secret


@dataclass(frozen=True)
class Settings:
    """Sizes in bytes, times in seconds.

    Routes come from `routes` (a file, read again when it changes) or from the control plane at `url`, and are kept in
    `cache` for a start without it. `header_s` is how long a client may take for the head of a request, `keep_alive_s`
    how long it may then be silent between two; `drain_s` how long requests may go on after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8800
    name: str = "gateway"
    url: str | None = None
    token: str = ""
    routes: Path | None = None
    cache: Path | None = None
    header_bytes_max: int = 32 * 1024
    header_s: float = 10.0
    keep_alive_s: float = 75.0
    drain_s: float = 30.0
    connections_max: int = 20_000
    access_log: bool = True
    tls_certificate: Path | None = None
    tls_key: Path | None = None


def read(arguments: Sequence[str], env: Mapping[str, str]) -> Settings:
    """From the command line and the environment; raises `InvalidRequest` when neither names a source of routes."""
    parser = argparse.ArgumentParser(prog="godwit gateway", description="Run the inference gateway.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8800, help="0: any free one; the first line of output says which")
    parser.add_argument("--name", default=None, help="what the control plane calls it (default: host name and pid)")
    parser.add_argument("--routes", type=Path, default=None, help="a file of routes, instead of a control plane")
    parser.add_argument("--cache", type=Path, default=None, help="where to keep the last known routes")
    parser.add_argument("--drain-s", type=float, default=30.0, help="how long requests may go on after SIGTERM")
    parser.add_argument("--header-s", type=float, default=10.0, help="how long a client may take for a request's head")
    parser.add_argument("--no-access-log", action="store_true", help="do not write a line for each request")
    parser.add_argument("--tls-certificate", type=Path, default=None)
    parser.add_argument("--tls-key", type=Path, default=None)
    given = parser.parse_args(arguments)
    url = env.get("GODWIT_URL")
    if given.routes is None and not url:
        raise InvalidRequest("a gateway needs routes: set GODWIT_URL and GODWIT_TOKEN, or name a file with --routes")
    return Settings(
        host=given.host,
        port=given.port,
        name=given.name or f"{os.uname().nodename[:40]}-{os.getpid()}-{secrets.token_hex(2)}",
        url=None if given.routes or not url else url.rstrip("/"),
        token=secret(env, "GODWIT_TOKEN", lambda file: Path(file).read_text()),
        routes=given.routes,
        cache=given.cache,
        header_s=given.header_s,
        drain_s=given.drain_s,
        access_log=not given.no_access_log,
        tls_certificate=given.tls_certificate,
        tls_key=given.tls_key,
    )
