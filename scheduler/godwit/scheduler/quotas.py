"""What each project may hold: its own nominal amount, what it may borrow in its cohort, and who borrowed how much.

A `Gate` of the engine; its arithmetic is in `accounts`. What is told to it is booked at once, and asked often: a
question costs a few additions per limit that the demand falls under.
"""

from collections.abc import Iterable, Mapping

from godwit.domain.resources import is_of_family
from godwit.scheduler.accounts import Account, Charge, Pool, Promise, Quota, Shortfall, Stamp
from godwit.scheduler.asks import Ask
from godwit.scheduler.demands import Demand

GPUS, CPUS, MEMORY = "gpus", "cpus", "memory"
"""Resources that a limit may be put on (thousandths of a GPU or CPU, MiB); any other name is a GPU family."""


MOST_URGENT = 2**31
"""Above every priority: what a project is taken to run that runs nothing."""

_MOST_CHARGES = 65_536
"""Demands whose charge is kept; beyond, all are looked up anew."""


class Quotas:
    """The gate of projects with quotas; a project without one is let through.

    A demand that accepts several GPU families, or any, is charged to each family that has a limit and that it may get:
    limits hold whatever is chosen for it. One that should not be names the families that it wants.
    """

    def __init__(self, quotas: Iterable[Quota]) -> None:
        self.holders: dict[str, dict[str, tuple[Demand, int]]] = {}
        self._accounts: dict[str, tuple[Account, ...]] = {}
        self._charges: dict[tuple[str, Ask], Charge] = {}
        self._charge_of: dict[str, tuple[Demand, Charge]] = {}
        self._stamps: dict[str, Stamp] = {}
        self._promises: dict[str, Promise] = {}
        self._yields_to: dict[str, str] = {}
        self._running: dict[str, dict[int, dict[Ask, int]]] = {}
        self._least_urgent: dict[str, int] = {}
        pools: dict[tuple[str, str], Pool] = {}
        stamps: dict[str, Stamp] = {}
        for quota in sorted(quotas, key=lambda quota: quota.project):
            self._open_accounts(quota, pools, stamps)

    def _open_accounts(self, quota: Quota, pools: dict[tuple[str, str], Pool], stamps: dict[str, Stamp]) -> None:
        if quota.project in self._accounts:
            raise ValueError(f"project {quota.project} has two quotas; put its limits into one")
        self._stamps[quota.project] = stamps.setdefault(quota.cohort, Stamp()) if quota.cohort else Stamp()
        accounts = []
        for resource, limit in sorted(quota.limits.items()):
            pool = pools.setdefault((quota.cohort, resource), Pool()) if quota.cohort else None
            account = Account(quota.project, resource, limit, pool)
            if pool is not None:
                pool.amount += limit.nominal - limit.kept
                pool.accounts.append(account)
            accounts.append(account)
        self._accounts[quota.project] = tuple(accounts)

    @property
    def bind(self) -> bool:
        """Whether any project has a quota."""
        return bool(self._accounts)

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
        promise = self._promises.get(demand.job_id)
        if promise is not None:
            promise.book_off()
        found = [
            account.shortfall(code, amount * nodes)
            for account, amount in self._charge(demand)
            if (code := account.refusal(amount * nodes)) is not None
        ]
        if promise is not None:
            promise.book()
        return found

    def stamp(self, project: str) -> int:
        """Grows with every start, end and promise in the project's cohort; what-if questions leave it."""
        stamp = self._stamps.get(project)
        return 0 if stamp is None else stamp.number

    def started(self, demand: Demand, nodes: int) -> None:
        """Books what it holds."""
        self.forgotten(demand.job_id)
        self._changed(demand.project)
        self.book(demand, nodes)
        self.holders.setdefault(demand.project, {})[demand.job_id] = (demand, nodes)
        by_priority = self._running.setdefault(demand.project, {})
        asks = by_priority.setdefault(demand.priority, {})
        asks[demand.ask] = asks.get(demand.ask, 0) + nodes
        self._least_urgent[demand.project] = min(by_priority)

    def ended(self, demand: Demand, nodes: int) -> None:
        """Books that it holds nothing, and what it frees for whom it yielded to."""
        self._changed(demand.project)
        self.book(demand, -nodes)
        promise = self._promises.get(self._yields_to.pop(demand.job_id, ""))
        if promise is not None:
            self._changed(promise.project)
            promise.book_off()
            promise.still_held.pop(demand.job_id, None)
            promise.book()
        del self.holders[demand.project][demand.job_id]
        by_priority = self._running[demand.project]
        asks = by_priority[demand.priority]
        asks[demand.ask] -= nodes
        if not asks[demand.ask]:
            del asks[demand.ask]
        if not asks:
            del by_priority[demand.priority]
            self._least_urgent[demand.project] = min(by_priority, default=MOST_URGENT)

    def promised(self, demand: Demand, by: Mapping[Demand, int]) -> None:
        """Counts what it needs as held, less what those who yield to it still hold themselves."""
        self.forgotten(demand.job_id)
        self._changed(demand.project)
        still_held = {other.job_id: self._amounts(other, nodes) for other, nodes in by.items()}
        promise = self._promises[demand.job_id] = Promise(
            demand.project, self._charge(demand), demand.nodes_min, still_held
        )
        promise.book()
        for job_id in still_held:
            self._yields_to[job_id] = demand.job_id

    def forgotten(self, job_id: str) -> None:
        """Its promise is void."""
        promise = self._promises.pop(job_id, None)
        if promise is not None:
            self._changed(promise.project)
            promise.book_off()
            for other in promise.still_held:
                del self._yields_to[other]

    def book(self, demand: Demand, nodes: int) -> None:
        """Add to what its project holds (negative: take off). For what-if questions too; whoever asks books it back."""
        for account, amount in self._charge(demand):
            account.book(amount * nodes)

    def borrows(self, demand: Demand, nodes: int) -> bool:
        """Whether its project would hold more than its own with it. What is promised to itself does not count."""
        promise = self._promises.get(demand.job_id)
        for index, (account, amount) in enumerate(self._charge(demand)):
            held = account.held - (promise.booked[index] if promise else 0)
            if amount and held + amount * nodes > account.limit.nominal:
                return True
        return False

    def exceeds(self, project: str) -> bool:
        """Whether a project holds more than its own of anything."""
        return any(account.held > account.limit.nominal for account in self._accounts.get(project, ()))

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
        return self._least_urgent.get(demand.project, MOST_URGENT) < demand.priority

    def held_less_urgent(self, demand: Demand, resource: str) -> int:
        """What of a resource its own project's running jobs of lower priority hold."""
        below = (asks for priority, asks in self._running.get(demand.project, {}).items() if priority < demand.priority)
        return sum(amount(ask, resource) * nodes for asks in below for ask, nodes in asks.items())

    def kind(self, demand: Demand) -> tuple[int, int]:
        """Equal for demands of one project that ask alike, for as long as these quotas live."""
        return (id(self._charge(demand)), demand.nodes_min)

    def held(self, project: str) -> dict[str, int]:
        """What a project with a quota holds of each limited resource, promises included."""
        return {account.resource: account.held for account in self._accounts.get(project, ())}

    def _amounts(self, demand: Demand, nodes: int) -> dict[str, int]:
        return {account.resource: amount * nodes for account, amount in self._charge(demand)}

    def _changed(self, project: str) -> None:
        stamp = self._stamps.get(project)
        if stamp is not None:
            stamp.number += 1

    def _charge(self, demand: Demand) -> Charge:
        # By name first, since the hash of an ask costs more than all that is asked about it.
        known = self._charge_of.get(demand.job_id)
        if known is not None and known[0] is demand:
            return known[1]
        key = (demand.project, demand.ask)
        found = self._charges.get(key)
        if found is None:
            accounts = self._accounts.get(demand.project, ())
            found = tuple((account, amount(demand.ask, account.resource)) for account in accounts)
            self._charges[key] = found
        if len(self._charge_of) >= _MOST_CHARGES:
            self._charge_of.clear()
        self._charge_of[demand.job_id] = (demand, found)
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
