"""A control plane's loops in this process, on a fresh SQLite file, with providers of the benchmark's own."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.hints import Hints
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.loops import Loops
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.clock import SystemClock
from godwit.domain.ids import IdSource, ProviderName
from godwit.providers.protocol import Provider
from sqlalchemy import text


@dataclass(frozen=True)
class Stage:
    """What a benchmark sees of it."""

    context: Context

    def count(self, table: str, where: str = "1=1") -> int:
        """Rows of a table."""
        with self.context.db.read() as conn:
            return int(conn.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())

    def wait_for(self, condition: Callable[[], bool], within_s: float) -> None:
        """Wait until it holds; raises `TimeoutError` when it does not come true."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within_s:g} s")
            time.sleep(0.005)


@contextmanager
def running(providers: Mapping[ProviderName, Provider]) -> Iterator[Stage]:
    """The loops at work. Everything is removed afterwards."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    clock, hints = SystemClock(), Hints()
    db = Database(open_engine(f"sqlite:///{folder}/bench.db"), hints.announce)
    db.migrate()
    ids = IdSource(clock.now, random.SystemRandom())
    context = Context(
        db=db, hints=hints, clock=clock, ids=ids, keyring=Keyring(b"bench"), providers=providers, identity="bench",
        url="http://127.0.0.1:1", store_url="file:///nowhere", serving_since=clock.now(),
    )  # fmt: skip
    loops = Loops(context)
    loops.start()
    try:
        yield Stage(context)
    finally:
        loops.stop()
        db.close()
        shutil.rmtree(folder)
