"""The whole system as processes: control planes on one PostgreSQL, a door before them, simulated clouds, people."""

import os
import socket
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
from sqlalchemy.exc import SQLAlchemyError

from tests.chaos import clouds, postgres
from tests.chaos.clouds import Clouds
from tests.chaos.door import Door
from tests.chaos.units import Keeper, Unit

REPLICAS = ("a", "b")
MACHINES = 6

# Times of nodes and leases are production's. An idle machine is given back soon, so that machines come and go.
CONFIG = """
url: {url}
database: {database}
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
    replicas: dict[str, Unit]
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
        ports = {name: _free_port() for name in REPLICAS}
        door = Door(list(ports.values()))
        stack.callback(door.close)
        providers = ", ".join(f"{{kind: simulated, name: {name}}}" for name in clouds.NAMES)
        url = postgres.url(database)
        (home / "config.yaml").write_text(
            CONFIG.format(url=door.url, database=url, providers=providers, machines=MACHINES)
        )
        sky = stack.enter_context(clouds.running(home))
        replicas = {name: _replica(home, name, port) for name, port in ports.items()}
        database.start()
        for unit in replicas.values():
            unit.start()
        stack.callback(Keeper([database, *replicas.values()]).close)
        db = Database(open_engine(url))
        stack.callback(db.close)
        yield Fleet(home, door.url, sky, database, replicas, db)


def _replica(home: Path, name: str, port: int) -> Unit:
    (home / f"port.{name}").write_text(f"{port}\n")
    command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(home)]
    is_up = f"http://127.0.0.1:{port}/v1/version"
    environment = {"GODWIT_REPLICA": name, "PYTHONUNBUFFERED": "1", "HOME": os.environ.get("HOME", "/")}
    return Unit(f"control plane {name}", command, home / f"{name}.log", lambda: _answers(is_up), environment)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
