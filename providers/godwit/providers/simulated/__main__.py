"""`python -m godwit.providers.simulated --state DIR --port P`: host the simulated clouds of DIR on 127.0.0.1."""

import argparse
import json
import os
import random
import socket
import sys
from pathlib import Path

import uvicorn
from godwit.domain.clock import SystemClock
from godwit.domain.errors import Conflict
from godwit.providers import files
from godwit.providers.simulated.host import EXIT_ALREADY_HOSTED, Host
from godwit.providers.simulated.server import Api


def main() -> int:
    """Serve until told to stop; machines go on after SIGTERM, and end with POST /stop."""
    parser = argparse.ArgumentParser(prog="python -m godwit.providers.simulated", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the folder that holds the clouds' state")
    parser.add_argument("--port", type=int, default=0, help="0: the one used before, or any free one")
    args = parser.parse_args()
    try:
        host = Host(args.state, SystemClock(), random.SystemRandom())
    except Conflict as exc:
        print(exc.message, file=sys.stderr)  # noqa: T201 - this is a command
        return EXIT_ALREADY_HOSTED
    serve(host, args.port)
    return 0


def serve(host: Host, port: int) -> None:
    """Serve `host` on 127.0.0.1; server.json appears once the port is open."""
    listener = _listen(port, _previous_port(host.state_dir))
    config = uvicorn.Config(
        Api(host, stop=lambda: setattr(server, "should_exit", True)).app(),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    files.write_private(host.state_dir / "server.json", json.dumps({"url": url, "pid": os.getpid()}))
    try:
        server.run(sockets=[listener])
    finally:
        host.close()


def _previous_port(state_dir: Path) -> int:
    """The port of the process before, kept so that those who know its address need not ask again; 0 when unknown."""
    try:
        return int(json.loads((state_dir / "server.json").read_text())["url"].rsplit(":", 1)[1])
    except (OSError, ValueError, KeyError, IndexError):
        return 0


def _listen(port: int, previous: int) -> socket.socket:
    choices = [port] if port else [previous, 0]
    for choice in choices:
        # Named, or asyncio leaves Nagle's algorithm on and each answer on an open connection waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", choice))
            listener.listen(256)
            return listener
        except OSError:
            listener.close()
            if choice == choices[-1]:
                raise
    raise AssertionError("the last choice either binds or raises")


if __name__ == "__main__":
    sys.exit(main())
