"""Purchases with the queue in mind: a larger node is bought where it and those who come next then cost less together.

For a gang, every way to complete it is weighed with the next single-node jobs of the queue, as they would be served:

    total = what this way costs + for each that comes next: nothing where what is left of a node on its way holds it,
            or else a node for itself, of which the rest is left for others in turn

"A node for itself" is the cheapest, or the cheapest per GPU; the rule that ends better counts. The least total wins,
and the next job is weighed anew when its turn comes. This is a rollout of two simple rules (Bertsekas, Tsitsiklis and
Wu, "Rollout algorithms for combinatorial optimization", Journal of Heuristics 3, 1997). `make bench` has how near it
comes to an exact optimum.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.market.expected import Expected
from godwit.scheduler.market.stock import Spare, Spares, Stock
from godwit.scheduler.reasons import Code, Refusal

LOOKAHEAD = 32
"""Waiting jobs that are looked at for one purchase: a bound on its work. Four nodes of eight GPUs hold so many."""

SHAPES = 12
"""Ways to complete a gang that are weighed for one purchase, the cheapest first; for the same reason."""

PURCHASES = 64
"""Purchases of one plan that are weighed so; later ones are made for each job alone, until the next plan."""

_ON_PAPER = Refusal(Code.NOT_READY, "", "", "")


class Followers:
    """Those who wait and were not served yet in this plan, in queue order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: dict[str, Demand] | None = None
        self._served: set[str] = set()
        self._asked = 0

    def served(self, job_id: str) -> None:
        """It had its turn."""
        self._served.add(job_id)

    def of(self, demand: Demand) -> list[Demand]:
        """Who of the next `LOOKAHEAD` would buy a node, as far as their projects may hold more beside `demand`."""
        engine, gate, found = self._engine, self._engine.gate, list[Demand]()
        self._asked += 1
        if self._asked > PURCHASES or engine.kept_for(demand.job_id):
            return []
        gate.promised(demand, {})
        for one in self._next():
            is_like = one.nodes_min == 1 and not engine.kept_for(one.job_id) and not engine.who_yields_to(one.job_id)
            if is_like and not engine.fits(one.ask).most[-1] and gate.refusal(one, 1) is None:
                gate.promised(one, {})
                found.append(one)
        for one in (demand, *found):
            gate.forgotten(one.job_id)
        return found

    def _next(self) -> Iterator[Demand]:
        if self._left is None:
            self._left = {one.job_id: one for one in self._engine.waiting.in_order()}
        waiting, gone, seen = self._engine.waiting, list[str](), list[Demand]()
        for job_id, one in self._left.items():
            if job_id in self._served or job_id not in waiting:
                gone.append(job_id)
                continue
            seen.append(one)
            if len(seen) == LOOKAHEAD:
                break
        for job_id in gone:
            del self._left[job_id]
        return iter(seen)


@dataclass(frozen=True, slots=True)
class Next:
    """One who comes next: its ask, and what it would buy for itself, the first that can be had; by either rule."""

    ask: Ask
    cheapest: tuple[Expected, ...]
    densest: tuple[Expected, ...]


def without_rest(others: Sequence[Next], spares: Spares) -> list[Next]:
    """Those who find no room on what is left of nodes on their way; `spares` is used up."""
    return [one for one in others if spares.take(one.ask) is None]


def total(ask: Ask, bought: Sequence[Expected], others: Sequence[Next], stock: Stock, most: int) -> int:
    """What `bought` for one gang costs together with those who come next, by the better of both rules; about `most` if
    it is no less than that.
    """
    cheapest = [(other.ask, other.cheapest) for other in others]
    densest = [(other.ask, other.densest) for other in others]
    least = _total(ask, bought, cheapest, stock, most)
    return least if densest == cheapest else min(least, _total(ask, bought, densest, stock, min(least, most)))


def _total(
    ask: Ask, bought: Sequence[Expected], others: Sequence[tuple[Ask, tuple[Expected, ...]]], stock: Stock, most: int
) -> int:
    taken = Counter(one.offer.key for one in bought)
    cost = sum(one.usd_micros for one in bought)
    spares = Spares(_rest(node, ask) for node in bought)
    for other, alone in others:
        if cost >= most:
            break
        if spares.take(other) is not None:
            continue
        own = next((one for one in alone if stock.left(one.offer) > taken[one.offer.key]), None)
        if own is not None:
            taken[own.offer.key] += 1
            cost += own.usd_micros
            spares.add(_rest(own, other))
    return cost


def shapes(nodes: Iterable[Expected], may: Callable[[Expected], bool]) -> Iterator[Expected]:
    """The first of each shape that `may` be bought."""
    seen: set[tuple[object, ...]] = set()
    for one in nodes:
        offer = one.offer
        shape = (offer.gpu_model, offer.gpu_count, offer.cpus, offer.memory_gib, offer.spot)
        if shape not in seen and may(one):
            yield one
            seen.add(shape)
            if len(seen) == SHAPES:
                return


def _rest(node: Expected, ask: Ask) -> Spare:
    spare = Spare.all_of(NodeKind.of(node.offer), _ON_PAPER, ask.tenant)
    spare.take(ask)
    return spare
