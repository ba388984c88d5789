"""The whole system as processes: control planes behind a door, workers, gateways, databases, simulated clouds."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import httpx
from godwit.control_plane.leading import SHARD
from godwit.control_plane.store import leases
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.store.in_line import Patience
from sqlalchemy.exc import SQLAlchemyError

from tests.chaos import clouds, gateways, postgres, redis_server
from tests.chaos.clouds import Clouds
from tests.chaos.door import Door
from tests.chaos.units import Keeper, Unit
from tests.ports import lasting_port

REPLICAS, WORKERS = ("a", "b"), ("1", "2")
MACHINES = 8

LOOKS = Patience(ping_s=2.0, read_s=10.0, write_s=10.0)
"""How long the harness itself waits for the database."""

# Times of nodes and leases are production's. An idle machine is given back soon, so that machines come and go.
CONFIG = """
url: {url}
database: {database}
executors: {{broker: "{broker}"}}
providers: [{providers}]
policy: {{hold_s: 2, idle_after_s: 20}}
fleet: {{max_nodes: {machines}}}
"""


@dataclass(frozen=True)
class Fleet:
    """What there is to break, to ask and to judge."""

    home: Path
    url: str
    clouds: Clouds
    postgres: Unit
    redis: Unit
    redis_port: int
    replicas: dict[str, Unit]
    workers: dict[str, Unit]
    gateways: dict[str, Unit]
    gateway_ports: dict[str, int]
    db: Database

    @property
    def diaries(self) -> Path:
        """Where each job's processes write down what they did, in a folder of the job's name."""
        return self.home.parent / "diaries"

    @property
    def token(self) -> str:
        """The administrator's."""
        return (self.home / "token").read_text().strip()

    def leader(self) -> tuple[str, int, int] | None:
        """Who runs the loops, with generation and beats; None while nobody does or nobody knows."""
        try:
            with self.db.read() as conn:
                found = leases.find(conn, SHARD)
        except SQLAlchemyError:
            return None
        return None if found is None else (found.holder.rpartition(".")[2], found.generation, found.beats)

    def log(self, last_bytes: int = 6_000) -> str:
        """What everybody said last, for somebody who asks what went wrong."""
        logs = [*sorted(self.home.glob("*.log")), *sorted((self.home / "simulated" / "boot_logs").glob("*.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-last_bytes:]}" for path in logs)


@contextmanager
def running(folder: Path) -> Iterator[Fleet]:
    """A fleet below `folder`; nothing of it is left after the block but its folder."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    (folder / "diaries").mkdir()
    with ExitStack() as stack:
        short = Path(tempfile.mkdtemp(prefix="gw-ch-", dir="/tmp"))
        stack.callback(rmtree, short, ignore_errors=True)
        database = postgres.unit(short)
        ports, redis_port = {name: lasting_port() for name in REPLICAS}, lasting_port()
        broker = redis_server.unit(home, redis_port)
        door = Door(list(ports.values()))
        stack.callback(door.close)
        providers = ", ".join(f"{{kind: simulated, name: {name}}}" for name in clouds.NAMES)
        url = postgres.url(database)
        settings = {"url": door.url, "database": url, "broker": redis_server.url(redis_port), "providers": providers}
        (home / "config.yaml").write_text(CONFIG.format(**settings, machines=MACHINES))
        sky = stack.enter_context(clouds.running(home))
        replicas = {name: _replica(home, name, port) for name, port in ports.items()}
        workers = {name: _worker(home, name, lasting_port()) for name in WORKERS}
        doors = {name: lasting_port() for name in gateways.NAMES}
        fronts = {name: gateways.unit(home, name, port, door.url) for name, port in doors.items()}
        units = [database, broker, *replicas.values(), *workers.values(), *fronts.values()]
        for unit in units:
            unit.start()
        stack.callback(Keeper(units).close)
        db = Database(open_engine(url, patience=LOOKS))
        stack.callback(db.close)
        yield Fleet(home, door.url, sky, database, broker, redis_port, replicas, workers, fronts, doors, db)


def _replica(home: Path, name: str, port: int) -> Unit:
    (home / f"port.{name}").write_text(f"{port}\n")
    command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(home)]
    is_up = f"http://127.0.0.1:{port}/v1/version"
    environment = {"GODWIT_REPLICA": name, "PYTHONUNBUFFERED": "1", "HOME": os.environ.get("HOME", "/")}
    return Unit(f"control plane {name}", command, home / f"{name}.log", lambda: _answers(is_up), environment)


def _worker(home: Path, name: str, port: int) -> Unit:
    command = [sys.executable, "-m", "godwit.control_plane", "work", "--home", str(home), "--port", str(port)]
    is_up = f"http://127.0.0.1:{port}/healthz"
    return Unit(f"worker {name}", command, home / f"worker.{name}.log", lambda: _answers(is_up))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False
