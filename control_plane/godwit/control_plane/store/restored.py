"""What a database that came out of a backup knows of that, and of what it therefore cannot know.

All of it lies in `meta`: it is read once a plan, written a few times a restore, and is of no use to anybody else.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from godwit.control_plane.store import schema, statements, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Instance
from sqlalchemy import Connection, select

_SINCE = 1_735_689_600.0
"""2025-01-01T00:00:00Z, from which ids count too; in whole seconds 31 bits last from there until 2093."""

ORPHANS_MAX = 1_000
"""Orphans of one provider that are kept in mind; the newest."""

_RESTORED, _STRAYS, _ORPHANS = "restored", "strays", "orphans"


@dataclass(frozen=True)
class Restored:
    """The last restore. Instants are seconds since the epoch.

    `backup_at` is when the backup was taken. `orphans_end_at` is from when on machines
    that the backup does not know are ended; None: never, they are listed only. `settled_at` is since when nothing that
    the database does not know of can run any more; None until then.
    """

    backup_at: float
    restored_at: float
    orphans_end_at: float | None = None
    settled_at: float | None = None

    @property
    def epoch_floor(self) -> int:
        """Below this, epochs of the jobs of the backup may have been given away in the time that is lost.

        It is made of the instant of the restore, because no copy of a database knows how often others of it were
        restored: a job has fewer attempts than it has seconds, so each restore is above all that was before.
        """
        return seconds_at(self.restored_at)


@dataclass(frozen=True)
class Orphan:
    """A machine with our mark whose purchase the database does not know; fields as in `Instance`."""

    id: str
    token: str
    region: str
    zone: str | None
    instance_type: str
    spot: bool
    price_usd_per_hour: float
    created_at: float


@dataclass(frozen=True)
class Seen:
    """When a node first and last said that it runs attempts which the database does not know."""

    first_at: float
    last_at: float


def seconds_at(instant: float) -> int:
    """A number that only grows, for whatever counts something of which there is less than one a second."""
    return int(instant - _SINCE)


def find(conn: Connection) -> Restored | None:
    """The last restore of this database; None if it never was."""
    text = _meta(conn, _RESTORED)
    return None if text is None else Restored(**json.loads(text))


def put(tx: Transaction, restored: Restored) -> None:
    """Write it down."""
    writes.replace_meta(tx, _RESTORED, json.dumps(asdict(restored)))


def strays(conn: Connection) -> dict[str, Seen]:
    """By node: since when, and when last, it ran what the database does not know."""
    text = _meta(conn, _STRAYS)
    return {} if text is None else {node_id: Seen(*seen) for node_id, seen in json.loads(text).items()}


def put_strays(tx: Transaction, of: Mapping[str, Seen]) -> None:
    """Write them down."""
    text = json.dumps({node_id: [seen.first_at, seen.last_at] for node_id, seen in of.items()})
    writes.replace_meta(tx, _STRAYS, text)


def orphans(conn: Connection, provider: ProviderName) -> list[Orphan] | None:
    """Those of a provider at its last list; None while it was not listed since the restore."""
    text = _meta(conn, f"{_ORPHANS} {provider}")
    return None if text is None else [Orphan(**one) for one in json.loads(text)]


def put_orphans(tx: Transaction, provider: ProviderName, of: Iterable[Orphan]) -> None:
    """Write them down."""
    writes.replace_meta(tx, f"{_ORPHANS} {provider}", json.dumps([asdict(one) for one in of]))


def all_orphans(conn: Connection) -> dict[str, list[Orphan]]:
    """Those of every provider that was listed since the restore."""
    table = schema.meta
    rows = conn.execute(select(table.c.key, table.c.value).where(table.c.key.startswith(f"{_ORPHANS} ")))
    return {row.key.partition(" ")[2]: [Orphan(**one) for one in json.loads(row.value)] for row in rows}


def orphan_of(instance: Instance) -> Orphan:
    """A listed machine as an orphan."""
    return Orphan(
        str(instance.id), instance.token or "", instance.region, instance.zone, instance.instance_type, instance.spot,
        instance.price_usd_per_hour, instance.created_at,
    )  # fmt: skip


def forget_orphans(tx: Transaction) -> None:
    """What was listed before a restore says nothing of what is there now."""
    tx.conn.execute(schema.meta.delete().where(schema.meta.c.key.startswith(f"{_ORPHANS} ")))


def _meta(conn: Connection, key: str) -> str | None:
    row = conn.execute(statements.row_of(schema.meta.c.key), {"wanted": key}).first()
    return None if row is None else str(row.value)
