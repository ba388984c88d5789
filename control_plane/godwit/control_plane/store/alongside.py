"""What is written with the first change that a request makes: in its transaction, whichever service opens that.

The request goes on in threads, to which its context is copied; threads that serve many requests have none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from sqlalchemy import Connection


class Rider(Protocol):
    """Something that one transaction takes along."""

    def is_due(self) -> bool:
        """Whether the next transaction is to take it along."""

    def write(self, conn: Connection) -> None:
        """Write it, at the end of a transaction that may still fail; what it raises undoes the transaction."""

    def committed(self) -> None:
        """The transaction that it was written in has been committed."""


_RIDER: ContextVar[Rider | None] = ContextVar("rider", default=None)


@contextmanager
def riding(rider: Rider) -> Iterator[None]:
    """Have transactions of the block, and of threads that it waits for, take `rider` along while it is due."""
    token = _RIDER.set(rider)
    try:
        yield
    finally:
        _RIDER.reset(token)


def due() -> Rider | None:
    """What the transaction at hand is to take along."""
    rider = _RIDER.get()
    return rider if rider is not None and rider.is_due() else None
