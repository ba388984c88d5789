"""When the next call to each provider may be made, of all processes together: one row for each pace, by one statement.

Only PostgreSQL has several processes; its clock is the one that counts, so that theirs may differ.
"""

from godwit.control_plane.store.schema import metadata
from sqlalchemy import Column, Connection, Float, String, Table, text

paces = Table(
    "paces",
    metadata,
    Column("name", String(96), primary_key=True),
    # Seconds since the epoch.
    Column("next_at", Float, nullable=False),
)

_NOW = "extract(epoch FROM clock_timestamp())"

# What lies further away than any pause is of another clock, as in a database that was restored: it counts for nothing.
_AHEAD = f"CASE WHEN paces.next_at > {_NOW} + :most_s THEN {_NOW} ELSE GREATEST(paces.next_at, {_NOW}) END"

_TURN = text(
    f"""
    INSERT INTO paces (name, next_at) VALUES (:name, {_NOW} + :spacing_s)
    ON CONFLICT (name) DO UPDATE SET next_at = {_AHEAD} + :spacing_s WHERE {_AHEAD} - {_NOW} <= :patience_s
    RETURNING next_at - :spacing_s - {_NOW}
    """  # noqa: S608 - of constants
)
_WAIT = text(f"SELECT {_AHEAD} - {_NOW} FROM paces WHERE name = :name")  # noqa: S608 - of constants
_PAUSE = text(
    f"""
    INSERT INTO paces (name, next_at) VALUES (:name, {_NOW} + :pause_s)
    ON CONFLICT (name) DO UPDATE SET next_at = GREATEST({_AHEAD}, {_NOW} + :pause_s)
    """  # noqa: S608 - of constants
)


def take_turn(conn: Connection, name: str, spacing_s: float, patience_s: float, most_s: float) -> float | None:
    """Take the next turn of a pace: seconds until then; None, and no turn, where that is longer than `patience_s`.

    `most_s` is the furthest that turns and pauses lie ahead.
    """
    limits = {"name": name, "spacing_s": spacing_s, "patience_s": patience_s, "most_s": most_s}
    found = conn.execute(_TURN, limits).scalar()
    return None if found is None else max(0.0, float(found))


def wait_of(conn: Connection, name: str, most_s: float) -> float:
    """Seconds until the next turn of a pace, which is not taken."""
    return float(conn.execute(_WAIT, {"name": name, "most_s": most_s}).scalar() or 0.0)


def pause(conn: Connection, name: str, pause_s: float, most_s: float) -> None:
    """Give no turn within `pause_s` from now."""
    conn.execute(_PAUSE, {"name": name, "pause_s": pause_s, "most_s": most_s})
