"""What a specification's `after` names, found among the jobs and arrays that are there when it is submitted.

Only what is there can be named, so what a job waits for is older than the job: it never waits for itself or a later
one, and no two wait for each other.
"""

from difflib import get_close_matches

from godwit.control_plane.store import dependencies
from godwit.domain.afters import After, Dependency, When
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import ProjectId
from godwit.scheduler.dependencies import broken
from sqlalchemy import Connection

NAMES_COMPARED = 200
"""Names among which a near match is looked for, the newest: a typo is made in a name that somebody just used."""


def found(conn: Connection, project: ProjectId, after: tuple[After, ...]) -> tuple[Dependency, ...]:
    """Each thing named in `after` once, in its order; the stricter of two wishes about one counts.

    Raises `InvalidRequest` for names that there are not, and for what ended badly already.
    """
    by_id: dict[str, Dependency] = {}
    problems: list[Problem] = []
    for index, wanted in enumerate(after):
        one = dependencies.named(conn, project, wanted.job)
        if one is None:
            problems.append(_unknown(conn, project, wanted.job, index))
            continue
        before = by_id.get(one.on)
        when = wanted.when if before is None or wanted.when is When.SUCCEEDED else before.when
        by_id[one.on] = Dependency(one.on, one.name, when)
        (standing,) = dependencies.standing_of(conn, [by_id[one.on]])
        lost = broken(standing)
        if lost is not None:
            meant = f"{{job: {wanted.job}, when: ended}}"
            problems.append(Problem(("after", index), f"this could never start: {lost}", did_you_mean=meant))
    if problems:
        raise InvalidRequest(problems=problems)
    return tuple(by_id.values())


def _unknown(conn: Connection, project: ProjectId, name: str, index: int) -> Problem:
    names = sorted(dependencies.recent_names(conn, project, NAMES_COMPARED))
    near = get_close_matches(name, names, n=1)
    message = f"there is no job or array {name!r} yet; submit it first"
    return Problem(("after", index), message, did_you_mean=near[0] if near else None)
