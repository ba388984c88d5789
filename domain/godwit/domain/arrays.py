"""Arrays: jobs that were submitted as one."""

from dataclasses import dataclass

from godwit.domain.ids import ArrayId, ProjectId


@dataclass(frozen=True)
class Member:
    """A job's place in an array: the jobs NAME-0, NAME-1, ... that were submitted as one."""

    array_id: ArrayId
    index: int
    size: int


@dataclass(frozen=True)
class Array:
    """Jobs that were submitted as one and share a name: `size` of them, called `name`-0 and so on."""

    id: ArrayId
    project: ProjectId
    name: str
    size: int
    created_at: float
