"""What each project may hold: its own nominal amount, what it may borrow in its cohort, and who borrowed how much.

A `Gate` of the engine. Arithmetic after Kueue's ClusterQueues and cohorts of depth one (kubernetes-sigs/kueue, KEP 79
and `pkg/cache/scheduler/resource_node.go`), per resource, in whole numbers:

    kept(p)     = nominal(p) - lend_max(p)                    what p never lends, 0 without a limit
    pool        = sum over the cohort of nominal(p) - kept(p)
    taken       = sum over the cohort of max(0, held(p) - kept(p))
    p may add n   when held(p) + n <= nominal(p) + borrow_max(p)
                and max(0, held(p) + n - kept(p)) - max(0, held(p) - kept(p)) <= pool - taken
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from godwit.domain.resources import is_of_family
from godwit.scheduler.asks import Ask
from godwit.scheduler.demands import Demand

GPUS, CPUS, MEMORY = "gpus", "cpus", "memory"
"""Resources that a limit may be put on (thousandths of a GPU or CPU, MiB); any other name is a GPU family."""

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

    `lent` is who holds more than its own in the cohort, and how much more.
    """

    code: str
    project: str
    resource: str
    asked: int
    held: int
    nominal: int
    most: int
    lent: tuple[tuple[str, int], ...] = ()

    @property
    def short_by(self) -> int:
        """How much would have to come free, or be added to the quota."""
        return self.held + self.asked - self.most


@dataclass(slots=True)
class _Pool:
    """What the projects of a cohort lend each other of one resource."""

    amount: int = 0
    taken: int = 0
    accounts: "list[_Account]" = field(default_factory=list)


@dataclass(slots=True)
class _Account:
    """What one project holds of one resource; `held` counts what was promised to its waiting demands too."""

    project: str
    resource: str
    limit: Limit
    pool: _Pool | None
    held: int = 0

    def book(self, amount: int) -> None:
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

    def refusal(self, amount: int) -> str | None:
        if not amount or self.held + amount <= self.most():
            return None
        ever = self.limit.nominal
        if self.pool is not None:
            most = self.limit.borrow_max
            ever = self.pool.amount + self.limit.kept if most is None else self.limit.nominal + most
        return OVER_QUOTA if self.held + amount > ever else COHORT_FULL

    def shortfall(self, code: str, asked: int) -> Shortfall:
        others = () if self.pool is None else self.pool.accounts
        over = [(other.project, other.held - other.limit.nominal) for other in others]
        lent = tuple(sorted((one for one in over if one[1] > 0), key=lambda one: (-one[1], one[0])))
        return Shortfall(code, self.project, self.resource, asked, self.held, self.limit.nominal, self.most(), lent)


Charge = tuple[tuple[_Account, int], ...]
"""What a demand is charged on each account, per node."""


class Quotas:
    """The gate of projects with quotas; a project without one is let through.

    A demand that accepts several GPU families, or any, is charged to each family that has a limit and that it may get:
    limits hold whatever is chosen for it. One that should not be names the families that it wants.
    """

    def __init__(self, quotas: Iterable[Quota]) -> None:
        self.holders: dict[str, dict[str, tuple[Demand, int]]] = {}
        self._accounts: dict[str, tuple[_Account, ...]] = {}
        self._charges: dict[tuple[str, Ask], Charge] = {}
        self._last: tuple[Demand | None, Charge] = (None, ())
        self._promises: dict[str, tuple[Demand, int]] = {}
        self._priorities: dict[str, Counter[int]] = {}
        pools: dict[tuple[str, str], _Pool] = {}
        for quota in sorted(quotas, key=lambda quota: quota.project):
            self._open_accounts(quota, pools)

    def _open_accounts(self, quota: Quota, pools: dict[tuple[str, str], _Pool]) -> None:
        if quota.project in self._accounts:
            raise ValueError(f"project {quota.project} has two quotas; put its limits into one")
        accounts = []
        for resource, limit in sorted(quota.limits.items()):
            pool = pools.setdefault((quota.cohort, resource), _Pool()) if quota.cohort else None
            account = _Account(quota.project, resource, limit, pool)
            if pool is not None:
                pool.amount += limit.nominal - limit.kept
                pool.accounts.append(account)
            accounts.append(account)
        self._accounts[quota.project] = tuple(accounts)

    def refusal(self, demand: Demand, nodes: int) -> str | None:
        """`OVER_QUOTA` or `COHORT_FULL`; `explain` says it in numbers."""
        if demand.job_id in self._promises:
            return next((shortfall.code for shortfall in self.explain(demand, nodes)), None)
        for account, amount in self._charge(demand):
            code = account.refusal(amount * nodes)
            if code is not None:
                return code
        return None

    def explain(self, demand: Demand, nodes: int) -> list[Shortfall]:
        """Each limit that refuses it now, in numbers; empty when none does."""
        _, promised = self._promises.get(demand.job_id, (demand, 0))
        self.book(demand, -promised)
        found = [
            account.shortfall(code, amount * nodes)
            for account, amount in self._charge(demand)
            if (code := account.refusal(amount * nodes)) is not None
        ]
        self.book(demand, promised)
        return found

    def started(self, demand: Demand, nodes: int) -> None:
        """Books what it holds."""
        self.forgotten(demand.job_id)
        self.book(demand, nodes)
        self.holders.setdefault(demand.project, {})[demand.job_id] = (demand, nodes)
        self._priorities.setdefault(demand.project, Counter())[demand.priority] += 1

    def ended(self, demand: Demand, nodes: int) -> None:
        """Books that it holds nothing."""
        self.book(demand, -nodes)
        del self.holders[demand.project][demand.job_id]
        counts = self._priorities[demand.project]
        counts[demand.priority] -= 1
        if not counts[demand.priority]:
            del counts[demand.priority]

    def promised(self, demand: Demand) -> None:
        """What is freed for it counts as held, so that nobody else gets it. Told twice, it counts once."""
        if demand.job_id not in self._promises:
            self._promises[demand.job_id] = (demand, demand.nodes_min)
            self.book(demand, demand.nodes_min)

    def forgotten(self, job_id: str) -> None:
        """Its promise is void."""
        if job_id in self._promises:
            demand, nodes = self._promises.pop(job_id)
            self.book(demand, -nodes)

    def book(self, demand: Demand, nodes: int) -> None:
        """Add to what its project holds (negative: take off). For what-if questions too; whoever asks books it back."""
        for account, amount in self._charge(demand):
            account.book(amount * nodes)

    def borrows(self, demand: Demand, nodes: int) -> bool:
        """Whether its project would hold more than its own with it. What is promised to itself does not count."""
        mine = self._promises.get(demand.job_id)
        less = mine[1] if mine else 0
        for account, amount in self._charge(demand):
            if amount and account.held + amount * (nodes - less) > account.limit.nominal:
                return True
        return False

    def falls_short(self, demand: Demand, nodes: int) -> bool:
        """Whether its project would hold less than its own of something without so many nodes of it."""
        return any(acc.held - n * nodes < acc.limit.nominal for acc, n in self._charge(demand) if n)

    def borrowers(self, demand: Demand) -> dict[str, float]:
        """Who holds more than its own of what this demand is charged for: by how much, in units of what is its own."""
        over: dict[str, float] = {}
        for account, amount in self._charge(demand):
            for other in account.pool.accounts if account.pool and amount else ():
                more = other.held - other.limit.nominal
                if more > 0 and other.project != demand.project:
                    over[other.project] = max(over.get(other.project, 0.0), more / max(1, other.limit.nominal))
        return over

    def is_lent(self, demand: Demand) -> bool:
        """Whether anything of what its cohort lends is held, by whomever; if not, there is nothing to claim."""
        return any(a.pool is not None and n and a.pool.taken > 0 for a, n in self._charge(demand))

    def has_less_urgent(self, demand: Demand) -> bool:
        """Whether its own project runs anything of lower priority."""
        counts = self._priorities.get(demand.project)
        return counts is not None and min(counts, default=demand.priority) < demand.priority

    def held(self, project: str) -> dict[str, int]:
        """What a project with a quota holds of each limited resource, promises included."""
        return {account.resource: account.held for account in self._accounts.get(project, ())}

    def _charge(self, demand: Demand) -> Charge:
        if demand is self._last[0]:
            return self._last[1]  # the engine asks several questions of one demand in turn
        key = (demand.project, demand.ask)
        found = self._charges.get(key)
        if found is None:
            accounts = self._accounts.get(demand.project, ())
            found = tuple((account, amount(demand.ask, account.resource)) for account in accounts)
            self._charges[key] = found
        self._last = (demand, found)
        return found


def amount(ask: Ask, resource: str) -> int:
    """What one node with `ask` takes of a resource: thousandths, or MiB of memory."""
    if resource == CPUS:
        return ask.cpu_milli
    if resource == MEMORY:
        return ask.memory_mib
    may_get = resource == GPUS or not ask.models or any(_overlap(model, resource) for model in ask.models)
    return ask.total_milli if may_get else 0


def _overlap(model: str, family: str) -> bool:
    return is_of_family(model, family) or is_of_family(family, model)
