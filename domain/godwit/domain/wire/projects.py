"""What the API shows and takes of projects and their quotas."""

from difflib import get_close_matches
from typing import Annotated

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.projects import ANY_GPU, CPUS, MEMORY_GIB, Limit
from godwit.domain.resources import families
from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import Name
from pydantic import Field, StringConstraints

MAX_AMOUNT = 10_000_000
"""The most of one resource that a limit may name; larger than any fleet, so that a slip of the finger is noticed."""

MAX_LIMITS = 32
MAX_WEIGHT = 1_000_000.0

Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]
ResourceName = Annotated[str, StringConstraints(min_length=1, max_length=32)]


class LimitIn(Message):
    """Of one resource, in whole GPUs, CPUs or GiB: `nominal` is the project's own.

    `borrow` is how much more it may hold of what others of its cohort leave unused, `lend` how much of its own they may
    hold; left out: as much as there is.
    """

    nominal: Amount
    borrow: Amount | None = None
    lend: Amount | None = None


class ProjectIn(Message):
    """A project as it should be: what is left out is as for a new one.

    `limits` is by resource: a GPU family such as "H100", "any" for all GPUs together, "cpus", "memory_gib"; of others
    it may hold what it likes. Projects of one `cohort` lend each other what they do not use. `weight` divides what it
    is held to have when the fleet is shared. `shares_nodes`: its jobs may be on a node with those of other projects
    that share theirs; left out, that stays as it is. `version`: refuse the change when the project is of another by
    now.
    """

    limits: Annotated[dict[ResourceName, LimitIn], Field(max_length=MAX_LIMITS)] = Field(default_factory=dict)
    cohort: Name | None = None
    weight: Annotated[float, Field(ge=0.001, le=MAX_WEIGHT, allow_inf_nan=False)] = 1.0
    shares_nodes: bool | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None

    def to_limits(self) -> dict[str, Limit]:
        """The limits by the real names of resources; raises `InvalidRequest` with the path of what is wrong."""
        found: dict[str, Limit] = {}
        for given, limit in self.limits.items():
            name = resource_named(given, ("limits", given))
            if name in found:
                message = f"{name} has two limits; name it once"
                raise InvalidRequest(problems=[Problem(("limits", given), message)])
            self._refuse_vain_limits(given, limit)
            found[name] = Limit(limit.nominal, limit.borrow, limit.lend)
        return found

    def _refuse_vain_limits(self, given: str, limit: LimitIn) -> None:
        if limit.lend is not None and limit.lend > limit.nominal:
            message = f"lends {limit.lend}, more than its own {limit.nominal}"
            raise InvalidRequest(problems=[Problem(("limits", given, "lend"), message, (f"0 to {limit.nominal}",))])
        if self.cohort is None and (limit.borrow or limit.lend):
            message = "borrows and lends within a cohort, and the project is in none; name one"
            raise InvalidRequest(problems=[Problem(("cohort",), message)])


def resource_named(text: str, path: tuple[str | int, ...]) -> str:
    """The resource that a person means by `text`, whatever its case. Raises `InvalidRequest`, with a near match."""
    names = (ANY_GPU, CPUS, MEMORY_GIB, *families())
    found = next((name for name in names if name.lower() == text.lower()), None)
    if found is None:
        near = _near(text, names)
        raise InvalidRequest(problems=[Problem(path, f"no resource is called {text!r}", names, near)])
    return found


def _near(text: str, names: tuple[str, ...]) -> str | None:
    near = get_close_matches(text.lower(), [name.lower() for name in names], n=1)
    return next((name for name in names if near and name.lower() == near[0]), None)


class UsageView(Message):
    """One limit, and what the project holds of it.

    `used` counts what is bought for its waiting jobs, and what others free for them. `borrowed` is what it holds above
    its own, `lent` its part of what others of its cohort hold above theirs.
    """

    nominal: int
    borrow: int | None
    lend: int | None
    used: float
    borrowed: float
    lent: float


class ProjectView(Message):
    """A project, its quota by resource, and its jobs: those that run or start, and those that wait.

    `lately` is what it held on average, of "any" (GPUs), "cpus" and "memory_gib": old time counts less. `share` is the
    part of the fleet that it is held to have, divided by its weight: of projects that wait, the least is served first.
    """

    name: str
    cohort: str | None
    weight: float
    limits: dict[str, UsageView]
    running: int
    waiting: int
    version: int
    lately: dict[str, float] = Field(default_factory=dict)
    share: float = 0.0
    shares_nodes: bool = False
