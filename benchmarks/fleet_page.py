"""The page of the fleet: how long the API takes to answer 5,000 nodes with 40,000 GPUs, and how large that is."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane import keyring
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.context import Context
from godwit.control_plane.hints import Hints
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.fleet_views import FleetViews
from godwit.control_plane.services.logs import LogStore
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.store import writes
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.clock import SystemClock
from godwit.domain.ids import IdSource
from godwit.providers.layers import CallMetrics

from benchmarks import seeded
from benchmarks.figures import Figure, at_most

NODES, ROUNDS = 5_000, 9
GOAL_MS, GOAL_MB = 300.0, 1.0


def measure() -> Iterator[Figure]:
    """The first answer after a change, the next ones, the one that says that nothing changed, and the first screen."""
    with seeded_context() as context, _client(context) as client:
        fresh, fresh_cpu = _times(lambda: FleetViews().get(context, None))
        packed = client.get("/v1/fleet")
        if packed.headers.get("content-encoding") != "gzip" or len(packed.json()["nodes"]["id"]) != NODES:
            raise RuntimeError("the answer does not hold the fleet that was written")
        again, _ = _times(lambda: client.get("/v1/fleet", headers={"Accept-Encoding": "gzip"}))
        unchanged, _ = _times(lambda: client.get("/v1/fleet", headers={"If-None-Match": packed.headers["etag"]}))
        first, first_cpu = _times(lambda: client.get("/v1/overview"))
    size = f"{NODES:,} nodes, {NODES * seeded.GPUS:,} GPUs"
    goal = at_most(GOAL_MS)
    yield Figure("fleet page: read and packed anew", fresh, "ms", goal, f"{size}; {fresh_cpu:.0f} ms of CPU")
    yield Figure(
        "fleet page: answered, nothing changed", again, "ms", goal, "the client unpacks and shares the process"
    )
    yield Figure("fleet page: 304", unchanged, "ms", None, "with If-None-Match")
    yield Figure("fleet page: packed", int(packed.headers["content-length"]) / 1e6, "MB", at_most(GOAL_MB), "gzip")
    yield Figure("first screen", first, "ms", None, f"{first_cpu:.0f} ms of CPU; nobody waits")


def _times(call: Callable[[], object]) -> tuple[float, float]:
    """Medians in milliseconds: by the wall, and of CPU."""
    walls, cpus = list[float](), list[float]()
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    return median(walls), median(cpus)


@contextmanager
def seeded_context() -> Iterator[Context]:
    """A control plane without loops, so that nobody looks after nodes that are only rows."""
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    hints = Hints()
    db = Database(open_engine(f"sqlite:///{folder}/bench.db"), hints.announce)
    try:
        db.migrate()
        context = context_over(db, hints)
        seeded.seed(db, NODES, context.now())
        yield context
    finally:
        db.close()
        shutil.rmtree(folder)


def context_over(db: Database, hints: Hints) -> Context:
    """A context without providers, over a migrated database."""
    clock = SystemClock()
    return Context(
        db=db, hints=hints, clock=clock, ids=IdSource(clock.now, random.SystemRandom()), keyring=Keyring(b"bench"),
        providers={}, identity="bench", url="http://127.0.0.1:1", store_url="file:///nowhere",
        serving_since=clock.now(),
    )  # fmt: skip


def app_over(context: Context, token: str) -> FastAPI:
    """The application over a context, which lets in whoever has `token` as an admin."""
    nowhere = Path("/nowhere")
    with context.db.write() as tx:
        writes.add_token(tx, "token-bench", keyring.digest(token), "admin", context.now())
    accounts = Accounts(context, Roster({}), Vault(new_key()), nowhere, CallMetrics())
    return create_app(State(context, Shelf(nowhere), LogStore(nowhere), accounts, dict))


@contextmanager
def _client(context: Context) -> Iterator[TestClient]:
    token = keyring.new_token()
    with TestClient(app_over(context, token), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client
