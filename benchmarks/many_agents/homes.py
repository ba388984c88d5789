"""A home whose database knows thousands of machines that boot, and the control plane process on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from godwit.control_plane import credentials
from godwit.control_plane.home import Home
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.store import writes
from godwit.control_plane.store.database import Database, open_engine
from sqlalchemy import make_url, text

from benchmarks.many_agents import paper, seeding

START_S = 120.0

CONFIG = """\
port: 0
database: {database}
providers: [{{kind: paper, name: paper, machines: {machines}}}]
agents: {{heartbeat_s: {heartbeat_s:g}}}
fleet: {{max_nodes: 10000, idle_s: 86400}}
"""


@dataclass
class Fleet:
    """A home with `machines` machines, whose agents have `joined` or not.

    Its database is SQLite in the home; at `server_url`, a PostgreSQL's, it is one of its own there.

    `plain`: the control plane answers each request of an agent by its route, as before there were groups.
    """

    folder: Path
    machines: int
    heartbeat_s: float
    server_url: str = ""
    joined: bool = True
    plain: bool = False
    server: subprocess.Popen[bytes] | None = None
    _keyring: Keyring | None = field(default=None, repr=False)

    def prepare(self) -> None:
        """Write the configuration and the rows."""
        if self.server_url:
            self._order(f'CREATE DATABASE "{self._database_name}" ENCODING UTF8 TEMPLATE template0')
        config = CONFIG.format(database=self._database_url, machines=self.machines, heartbeat_s=self.heartbeat_s)
        (self.folder / "config.yaml").write_text(config)
        self._keyring = Home(self.folder).keyring()
        with self.database() as db:
            db.migrate()
            now = time.time()
            with db.write() as tx:
                writes.set_meta(tx, "identity", paper.OWNER)
                (seeding.joined if self.joined else seeding.booting)(tx, range(self.machines), now)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Its database, beside the server."""
        db = Database(open_engine(self._database_url))
        try:
            yield db
        finally:
            db.close()

    @property
    def _database_name(self) -> str:
        return self.folder.name

    @property
    def _database_url(self) -> str:
        if not self.server_url:
            return f"sqlite:///{self.folder}/godwit.db"
        return make_url(self.server_url).set(database=self._database_name).render_as_string(hide_password=False)

    def _order(self, statement: str) -> None:
        """Tell the PostgreSQL outside of any transaction."""
        engine = open_engine(self.server_url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text(statement))
        engine.dispose()

    def count(self, query: str) -> int:
        """The one number that a query gives."""
        with self.database() as db, db.read() as conn:
            return int(conn.execute(text(query)).scalar_one())

    def credential(self, number: int) -> str:
        """What the agent of machine `number` was given when it joined."""
        assert self._keyring is not None
        agent_id = seeding.agent_id(number)
        return credentials.issue(self._keyring, paper.node_id(number), agent_id, time.time(), credentials.LIFE_S)

    def join_token(self, number: int) -> str:
        """What machine `number` finds in its startup script."""
        assert self._keyring is not None
        return self._keyring.join_token(paper.node_id(number), paper.launch_id(number))

    def start(self) -> int:
        """Start the control plane; returns its port once it serves."""
        record = self.folder / "control_plane.json"
        record.unlink(missing_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("GODWIT_")}
        with (self.folder / "server.log").open("ab") as log:
            argv = [sys.executable, "-m", "benchmarks.many_agents.serving", str(self.folder)]
            self.server = subprocess.Popen([*argv, *(["--plain"] if self.plain else [])], env=env, stderr=log)
        deadline = time.monotonic() + START_S
        while not record.exists():
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the control plane does not serve:\n{self.log()}")
            time.sleep(0.05)
        return int(json.loads(record.read_text())["url"].rpartition(":")[2])

    @property
    def process(self) -> psutil.Process:
        """The control plane's process."""
        assert self.server is not None
        return psutil.Process(self.server.pid)

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.folder / "token").read_text().strip()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the control plane."""
        if self.server is not None:
            self.server.send_signal(number)
            try:
                self.server.wait(30)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
            self.server = None

    def remove(self) -> None:
        """Leave nothing of it."""
        if self.server_url:
            self._order(f'DROP DATABASE IF EXISTS "{self._database_name}" WITH (FORCE)')
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The end of what it logged."""
        return (self.folder / "server.log").read_text()[-3_000:]
