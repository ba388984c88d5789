"""A project is a tenant: it owns jobs, and may hold so much of the fleet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from godwit.domain.ids import ProjectId

DEFAULT = ProjectId("default")
"""The project of jobs that name none. It is there from the start, and stays."""

ANY_GPU, CPUS, MEMORY_GIB = "any", "cpus", "memory_gib"
"""Resources that a limit may be put on besides families of GPUs ("H100"): all GPUs together, CPUs, GiB of memory."""


@dataclass(frozen=True)
class Limit:
    """Of one resource, in whole GPUs, CPUs or GiB: `nominal` is the project's own.

    `borrow` is how much more it may hold while others of its cohort leave it unused, `lend` how much of its own these
    may hold meanwhile; None for as much as there is. Without a cohort both say nothing.
    """

    nominal: int
    borrow: int | None = None
    lend: int | None = None


@dataclass(frozen=True)
class Project:
    """A project and its quota. Of a resource that `limits` do not name it may hold what it likes.

    Projects of one `cohort` lend each other what they do not use; "" is no cohort. Of two projects that want the same
    GPUs, one with twice the `weight` is due twice as many. Its jobs are on a node together with those of another
    project only where both are `shares_nodes`.
    """

    name: ProjectId
    limits: Mapping[str, Limit] = field(default_factory=dict)
    cohort: str = ""
    weight: float = 1.0
    shares_nodes: bool = False
    created_at: float = 0.0
    version: int = 1
