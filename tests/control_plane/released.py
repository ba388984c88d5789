"""Databases as earlier versions of godwit left them: a story, told by the code of that time, and then read as rows.

`python -m tests.control_plane.released` tells it with today's code, and writes the file of today's revision: once for
each release.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from godwit.control_plane.api.access import DASHBOARD_HEADER
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine, upgrade
from godwit.domain.wire import agents as wire

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

FOLDER = Path(__file__).parent / "released"
REVISIONS = sorted(path.stem for path in FOLDER.glob("*.json"))

_SEQUENCES = """SELECT t.relname, a.attname, pg_get_serial_sequence(t.relname::text, a.attname::text) FROM pg_class t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
AND pg_get_serial_sequence(t.relname::text, a.attname::text) IS NOT NULL"""


@dataclass(frozen=True)
class Released:
    """What was in a database: its revision, the instant, agents by node with their credentials, and rows by table."""

    revision: str
    at: float
    agents: dict[str, dict[str, str]]
    tables: dict[str, dict[str, Any]]

    def column(self, table: str, name: str) -> list[Any]:
        """One column of a table, row by row."""
        of = self.tables[table]
        return [row[of["columns"].index(name)] for row in of["rows"]]

    def fill_database(self, db: Database) -> None:
        """Make the tables of that revision in an empty database, with these rows in them."""
        with db.engine.begin() as conn:
            self._fill(conn)

    def _fill(self, conn: sa.Connection) -> None:
        upgrade(conn, self.revision)
        for name in self.tables:
            conn.execute(sa.text(f'DELETE FROM "{name}"'))  # what migrations put there is among the rows
        known = sa.MetaData()
        known.reflect(conn)
        for table in known.sorted_tables:
            of = self.tables.get(table.name, {"columns": [], "rows": []})
            rows = [dict(zip(of["columns"], row, strict=True)) for row in of["rows"]]
            if rows:
                conn.execute(table.insert(), [_typed(table, row) for row in rows])
        if conn.dialect.name == "postgresql":
            for table_name, column, sequence in conn.execute(sa.text(_SEQUENCES)).all():
                last = f'SELECT setval(\'{sequence}\', (SELECT coalesce(max("{column}"), 0) + 1 FROM "{table_name}"))'
                conn.execute(sa.text(last))


def read(revision: str, folder: Path = FOLDER) -> Released:
    """The file of a revision."""
    return Released(**json.loads((folder / f"{revision}.json").read_text()))


def _typed(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """The row as the driver wants it: SQLite gave truths as numbers."""
    return {
        name: bool(value) if isinstance(table.c[name].type, sa.Boolean) and value is not None else value
        for name, value in row.items()
    }


def _tell(world: World) -> None:
    """A job that runs and has got somewhere, others that wait or are over; a service, a sick GPU, a token, a secret."""
    job_id, gang = world.run("old-train", nodes=2)
    attempt = world.attempt(job_id)
    gang[0].report_step(attempt, 40)
    committed = gang[0].observed(
        wire.CheckpointCommitted,
        attempt_id=attempt.id, epoch=attempt.epoch, at=world.clock.now(), step=40, size_bytes=1000, files=2,
        manifest_url="file:///checkpoints/1/manifest.json",
    )  # fmt: skip
    gang[0].beat(committed)
    world.submit("old-queued", nodes=9)
    world.cancel(world.submit("old-cancelled", nodes=9))
    done_id, (agent,) = world.run("old-done")
    agent.beat(agent.stopped(world.attempt(done_id).id, 1, "succeeded"))
    world.submit("old-array", count=3, nodes=9)
    world.submit("old-after", after=["old-train"])
    gang[1].beat(gang[1].found("xid:79", gpu=0))
    world.submit("old-elastic", nodes="2..4")
    service = {"kind": "service", "name": "old-chat", "run": "python serve.py", "resources": {"gpus": "H100:1"}}
    client = client_of(world)
    client.post("/v1/services", json=service | {"replicas": 1}).raise_for_status()
    token = client.post("/v1/tokens", json={"name": "old-alice", "role": "member"}).raise_for_status().json()
    client.post("/v1/sessions", json={"token": token["secret"]}, headers={DASHBOARD_HEADER: "1"}).raise_for_status()
    secret = "/v1/projects/default/secrets/old-secret/versions"
    client.post(secret, json={"value": "made-up-value-of-a-secret"}).raise_for_status()
    world.plan()


def _rows(conn: sa.Connection) -> dict[str, dict[str, Any]]:
    found = {}
    for name in sorted(sa.inspect(conn).get_table_names()):
        rows = conn.execute(sa.text(f'SELECT * FROM "{name}"')).mappings().all()
        if rows and name != "alembic_version":
            found[name] = {"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]}
    return found


def write(into: Path = FOLDER) -> Path:
    """Write the file of today's revision into a folder, and say where."""
    with tempfile.TemporaryDirectory() as folder:
        hints = Hints()
        db = Database(open_engine(f"sqlite:///{folder}/godwit.db"), hints.announce)
        db.migrate()
        world = World(db, hints, Path(folder))
        _tell(world)
        with db.engine.connect() as conn:
            tables = _rows(conn)
            revision = str(conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())
        db.close()
    agents = {agent.node_id: {"agent_id": agent.agent_id, "credential": agent.credential} for agent in world.agents}
    lines = [
        f'"{name}": {{"columns": {_packed(of["columns"])}, "rows": [\n' + ",\n".join(map(_packed, of["rows"])) + "\n]}"
        for name, of in tables.items()
    ]
    head = f'{{"revision": "{revision}", "at": {world.clock.now()!r}, "agents": {json.dumps(agents)}, "tables": {{\n'
    written = into / f"{revision}.json"
    written.write_text(head + ",\n".join(lines) + "\n}}\n")
    return written


def _packed(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    write()
