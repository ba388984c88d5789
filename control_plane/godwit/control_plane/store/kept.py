"""What may not leave the disk of a control plane: output and workdirs of what is not over."""

import json
from dataclasses import dataclass

from godwit.control_plane.store import queries, schema, services
from sqlalchemy import Connection, select

_GOING_ON = (*queries.WAITING_JOBS, *queries.ACTIVE_JOBS)


@dataclass(frozen=True)
class Kept:
    """Jobs that are not over, and the digests of the workdirs that they and services need."""

    job_ids: frozenset[str]
    digests: frozenset[str]


def kept(conn: Connection) -> Kept:
    """What is needed now: a service that sleeps starts again with the workdir of any of its versions."""
    table = schema.jobs
    going_on = select(table.c.id, table.c.spec).where(table.c.state.in_(_GOING_ON))
    specs: dict[str, str] = {row.id: row.spec for row in conn.execute(going_on)}
    digests = [json.loads(spec).get("workdir_digest") for spec in specs.values()]
    digests += [version.spec.workdir_digest for service in services.alive(conn) for version in service.versions]
    return Kept(frozenset(specs), frozenset(filter(None, digests)))
