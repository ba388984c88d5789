"""A control plane that comes back from a backup, while its clouds, machines and agents went on."""

import copy
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

from godwit.control_plane.backup import settling
from godwit.control_plane.hints import Hints
from godwit.control_plane.reconcilers.instances import InstanceWatch
from godwit.control_plane.store.database import Database, open_engine

from tests.control_plane.world import World

END_AFTER_S = 900.0


class Backup:
    """What the database of a world was at one instant."""

    def __init__(self, world: World, folder: Path) -> None:
        self.at, self._path = world.clock.now(), folder / "backup.db"
        with sqlite3.connect(self._path) as kept, world.db.engine.connect() as conn:
            driver = conn.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.backup(kept)

    def restore(self, world: World, *, end_orphans: bool = False) -> World:
        """The same fleet under a control plane that knows it only as it was."""
        path = self._path.with_name(f"restored-{world.clock.now():.0f}.db")
        shutil.copy(self._path, path)
        hints = Hints()
        db = Database(open_engine(f"sqlite:///{path}"), hints.announce)
        now = world.clock.now()
        with db.write() as tx:
            settling.settle(tx, world.context.ids, self.at, now, end_orphans=end_orphans, end_after_s=END_AFTER_S)
        later = copy.copy(world)
        later.db, later.hints = db, hints
        later.context = replace(world.context, db=db, hints=hints, serving_since=now)
        later.watches = {name: InstanceWatch(later.context, p) for name, p in world.context.providers.items()}
        later.agents = []
        for agent in world.agents:
            agent._world = later
        return later
