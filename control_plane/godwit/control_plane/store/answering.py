"""Connections to a PostgreSQL that may hang: whoever waits for an answer gives up in time, and the connection ends.

The server's own limits (`statement_timeout`) end what hangs in it: a statement behind a lock, a program that stands
still inside a transaction. They are nothing to a server that does not run, a disk that stands still or a network that
drops everything: there is only the silence, and whoever waits has to measure it himself. libpq knows a limit for
connecting and none for answers.
"""

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from godwit.control_plane.store.in_line import GRACE_S, PATIENCE, Patience
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

Result = TypeVar("Result")


class Answering(psycopg.Connection[Any]):
    """A connection that ends itself, and raises `OperationalError`, when nothing was heard for `silent_s`."""

    silent_s: float | None = None

    def wait(self, gen: PQGen[Result], *args: Any, **kwargs: Any) -> Result:
        """See psycopg; every statement and each row that comes passes here."""
        if self.silent_s is None:
            return super().wait(gen, *args, **kwargs)
        return super().wait(bounded(gen, self.silent_s, self._give_up), *args, **kwargs)

    def _give_up(self) -> psycopg.Error:
        self.pgconn.finish()
        return psycopg.OperationalError(
            f"PostgreSQL said nothing for {self.silent_s:g} s; the connection was ended, and whether what was asked "
            "last took effect is not known"
        )


def bounded(
    gen: PQGen[Result], silent_s: float, give_up: Callable[[], Exception], clock: Callable[[], float] = time.monotonic
) -> Generator[Any, Any, Result]:
    """`gen`, which raises what `give_up` returns once it has waited for `silent_s` and nothing came."""
    deadline = clock() + silent_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                deadline = clock() + silent_s
            elif clock() >= deadline:
                raise give_up()
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def use(engine: Engine, patience: Patience) -> None:
    """Let all connections of an engine of PostgreSQL answer in time. To be called before the first is opened."""

    def opened(connection: Answering, record: Any) -> None:
        record.info[PATIENCE] = patience
        connection.silent_s = patience.ping_s
        # A limit that an operator gave the role or the database stands.
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false) WHERE current_setting('statement_timeout') = '0'",
            [_ms(patience.read_s)],
        )
        connection.commit()

    def taken(connection: Answering, _record: Any, _proxy: Any) -> None:
        connection.silent_s = patience.read_s + GRACE_S

    def given_back(connection: Answering | None, _record: Any) -> None:
        # So is the statement by which the pool looks whether it lives when it is taken the next time.
        if connection is not None:
            connection.silent_s = patience.ping_s

    event.listen(engine, "do_connect", lambda _dialect, _record, args, told: Answering.connect(*args, **told))
    event.listen(engine, "connect", opened)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"
