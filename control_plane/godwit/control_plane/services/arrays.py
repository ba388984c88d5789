"""Arrays: so many jobs from one specification, made, written and shown as one."""

from collections.abc import Sequence
from dataclasses import replace

from godwit.control_plane.store import arrays, entities
from godwit.control_plane.store.database import Transaction
from godwit.domain.arrays import Array, Member
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.events import Event
from godwit.domain.ids import ArrayId, IdSource, JobId
from godwit.domain.jobs import Job, JobState
from godwit.domain.wire.arrays import ArrayView
from sqlalchemy import Connection

SPECS_MAX_BYTES = 64 * 1024 * 1024
"""What all specifications of one array may be together: each job has its own copy, written in one transaction."""


def members(new_ids: IdSource, of: Job, count: int) -> list[Job]:
    """`of` so many times, as the jobs of a new array, in their order; ids ascend with it."""
    array_id = ArrayId(new_ids.new("array"))
    ids: set[str] = set()
    while len(ids) < count:  # two ids made in one instant may be alike, about once in a thousand large arrays
        ids.add(new_ids.new("job"))
    found = []
    for index, job_id in enumerate(sorted(ids)):
        spec = replace(of.spec, name=f"{of.spec.name}-{index}")
        found.append(replace(of, id=JobId(job_id), spec=spec, member=Member(array_id, index, count)))
    return found


def write(tx: Transaction, new: Sequence[Job], actor: str) -> None:
    """Write the jobs of a new array, as `members` made them."""
    first = new[0]
    if first.member is not None:
        arrays.add(tx, Array(first.member.array_id, first.project, first.family, len(new), first.created_at))
    reason = f"submitted as one of {len(new)}"
    born = [Event(j.created_at, "job.state", "job", j.id, reason, actor, new=JobState.QUEUED, job_id=j.id) for j in new]
    entities.insert_all(tx, new, born)


def refuse_too_large(size_bytes: int, count: int) -> None:
    """Raise `InvalidRequest` when `count` copies of a specification of so many bytes are too much."""
    if size_bytes * count > SPECS_MAX_BYTES:
        have, most = size_bytes * count >> 20, SPECS_MAX_BYTES >> 20
        message = (
            f"{count} copies of this are {have} MiB, and an array is at most {most}; use a workdir for what is long"
        )
        raise InvalidRequest(problems=[Problem(("count",), message, (f"up to {SPECS_MAX_BYTES // size_bytes}",))])


def view(conn: Connection, of: Array) -> ArrayView:
    """An array with how its jobs stand."""
    return views(conn, [of])[0]


def views(conn: Connection, of: Sequence[Array]) -> list[ArrayView]:
    """The same of several."""
    counted = arrays.states(conn, [array.id for array in of])
    found = []
    for array in of:
        states = counted.get(array.id, {})
        failed = arrays.jobs(conn, array.id, [JobState.FAILED], 1) if states.get(JobState.FAILED) else []
        found.append(
            ArrayView(
                id=array.id,
                name=array.name,
                project=array.project,
                size=array.size,
                created_at=array.created_at,
                states={state: states[state] for state in JobState if state in states},
                first_failed=failed[0].spec.name if failed else None,
                exit_code=failed[0].exit_code if failed else None,
            )
        )
    return found
