"""The API over a world, as a test calls it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane import keyring
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.connection import Connection
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.logins import Vouches
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.store import writes
from godwit.control_plane.vault import Vault, new_key
from godwit.providers.layers import CallMetrics
from starlette.types import ASGIApp

from tests.control_plane.world import World

TOKEN = "gw_test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
DEADLINE_S = 20.0


def app_of(world: World, login: Vouches | None = None) -> FastAPI:
    """The application over a world that knows one token, and perhaps an identity provider."""
    with world.db.write() as tx:
        writes.add_token(tx, "token-test", keyring.digest(TOKEN), "admin", 0.0)
    return create_app(State(world.context, world.shelf, world.logs, accounts_of(world), dict, login=login))


def accounts_of(world: World) -> Accounts:
    """The accounts of a world, with a key of their own."""
    roster = Roster(world.context.providers)
    return Accounts(world.context, roster, Vault(new_key()), Path("/nowhere"), CallMetrics())


def client_of(world: World) -> TestClient:
    """A client that presents the token; a crash of the application is its answer, as over a network."""
    return TestClient(app_of(world), raise_server_exceptions=False, headers=BEARER)


@contextmanager
def served(app: ASGIApp, http: type[Connection] = Connection, listener: socket.socket | None = None) -> Iterator[str]:
    """The application behind a real server, for what never ends; yields its address, that of `listener` if given."""
    listener = listener or socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, http=http)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while not server.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "the server does not end"
