"""The books behind quotas: what one project holds of one resource, what a cohort lends of it, and what is promised.

Per resource, in whole numbers; after Kueue's ClusterQueues in cohorts of depth one (kubernetes-sigs/kueue, KEP 79 and
`pkg/cache/scheduler/resource_node.go`):

    kept(p)     = nominal(p) - lend_max(p)                    what p never lends, 0 without a limit
    pool        = sum over the cohort of nominal(p) - kept(p)
    taken       = sum over the cohort of max(0, held(p) - kept(p))
    p may add n   when held(p) + n <= nominal(p) + borrow_max(p)
                and max(0, held(p) + n - kept(p)) - max(0, held(p) - kept(p)) <= pool - taken
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

OVER_QUOTA = "over-quota"
"""The project would hold more than its own amount and what it may borrow."""

COHORT_FULL = "cohort-full"
"""The project may borrow, or has lent what is its own, and nothing is left in the cohort now."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one resource: `nominal` is the project's own; None for the others means as much as the cohort has."""

    nominal: int
    borrow_max: int | None = None
    lend_max: int | None = None

    def __post_init__(self) -> None:
        if min(self.nominal, self.borrow_max or 0, self.lend_max or 0) < 0:
            raise ValueError(f"{self} has a negative amount; say 0 where nothing may be held, borrowed or lent")

    @property
    def kept(self) -> int:
        """What it never lends."""
        return 0 if self.lend_max is None else max(0, self.nominal - self.lend_max)


@dataclass(frozen=True, slots=True)
class Quota:
    """A project's limits by resource; of others it may hold what it likes. No `cohort`: it shares with nobody."""

    project: str
    limits: Mapping[str, Limit]
    cohort: str = ""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a gate shut, in numbers: of `resource` the project holds `held`, asks `asked` and may hold `most` now.

    `ever` is what it might hold if nobody else did; what asks more never starts. `lent` is who holds more than its own
    in the cohort, and how much more.
    """

    code: str
    project: str
    resource: str
    asked: int
    held: int
    nominal: int
    most: int
    ever: int
    lent: tuple[tuple[str, int], ...] = ()

    @property
    def short_by(self) -> int:
        """How much would have to come free, or be added to the quota."""
        return self.held + self.asked - self.most


@dataclass(slots=True)
class Stamp:
    """A number that grows whenever anything is booked for any project of a cohort."""

    number: int = 0


@dataclass(slots=True)
class Pool:
    """What the projects of a cohort lend each other of one resource."""

    amount: int = 0
    taken: int = 0
    accounts: "list[Account]" = field(default_factory=list)


@dataclass(slots=True)
class Account:
    """What one project holds of one resource; `held` counts what was promised to its waiting demands too."""

    project: str
    resource: str
    limit: Limit
    pool: Pool | None
    held: int = 0

    def book(self, amount: int) -> None:
        """It holds so much more, or less when negative; nothing is checked here."""
        before, self.held = self.held, self.held + amount
        if self.pool is not None:
            self.pool.taken += max(0, self.held - self.limit.kept) - max(0, before - self.limit.kept)

    def most(self) -> int:
        """What it may hold in all, now."""
        limit, pool = self.limit, self.pool
        if pool is None:
            return limit.nominal
        free = pool.amount - pool.taken
        there = max(self.held, limit.kept) + free
        return there if limit.borrow_max is None else min(there, limit.nominal + limit.borrow_max)

    def ever(self) -> int:
        """What it may hold when nobody else of its cohort holds anything."""
        limit, pool = self.limit, self.pool
        if pool is None:
            return limit.nominal
        there = limit.kept + pool.amount
        return there if limit.borrow_max is None else min(there, limit.nominal + limit.borrow_max)

    def refusal(self, amount: int) -> str | None:
        """Why it may not hold so much more; None when it may, and for nothing at all."""
        if not amount or self.held + amount <= self.most():
            return None
        return OVER_QUOTA if self.held + amount > self.ever() else COHORT_FULL

    def shortfall(self, code: str, asked: int) -> Shortfall:
        """A refusal in numbers."""
        others = () if self.pool is None else self.pool.accounts
        over = [(other.project, other.held - other.limit.nominal) for other in others]
        lent = tuple(sorted((one for one in over if one[1] > 0), key=lambda one: (-one[1], one[0])))
        nominal, most, ever = self.limit.nominal, self.most(), self.ever()
        return Shortfall(code, self.project, self.resource, asked, self.held, nominal, most, ever, lent)


Charge = tuple[tuple[Account, int], ...]
"""What a demand is charged on each account, per node."""


@dataclass(slots=True)
class Promise:
    """What is kept for a demand that others yield to. `still_held` is by their job, then by resource."""

    project: str
    charge: Charge
    nodes: int
    still_held: dict[str, dict[str, int]]
    booked: list[int] = field(default_factory=list)

    def book(self) -> None:
        """Count what it needs and does not come from those who yield."""
        self.booked = []
        for account, amount in self.charge:
            coming = sum(held.get(account.resource, 0) for held in self.still_held.values())
            self.booked.append(max(0, amount * self.nodes - coming))
            account.book(self.booked[-1])

    def book_off(self) -> None:
        """Undo `book`."""
        for (account, _), amount in zip(self.charge, self.booked, strict=True):
            account.book(-amount)
        self.booked = [0] * len(self.charge)
