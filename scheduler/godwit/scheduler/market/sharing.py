"""A larger node for several waiting jobs, where together it costs them less than a node each.

For one job of a single node, every node that it could have is weighed with those who come next in the queue:

    net = what the node costs - the sum of what its riders would cost alone

Riders are counted as they will be served: in queue order, each where it fits, first on what is left of nodes that are
on their way already. The least net wins. It is the greedy rule for packing into bins of different price; `make bench`
has how near it comes to an exact optimum.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.market.expected import Expected
from godwit.scheduler.market.stock import Spare, Spares
from godwit.scheduler.reasons import Code, Refusal

LOOKAHEAD = 64
"""Waiting jobs that are looked at for one purchase: a bound on its work. Eight nodes of eight GPUs hold so many."""

SHAPES = 32
"""Kinds of node that are weighed for one purchase, the cheapest first; for the same reason."""

_ON_PAPER = Refusal(Code.NOT_READY, "", "", "")


class Followers:
    """Those who wait and were not served yet in this plan, in queue order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: dict[str, Demand] | None = None
        self._served: set[str] = set()

    def served(self, job_id: str) -> None:
        """It had its turn."""
        self._served.add(job_id)

    def of(self, demand: Demand) -> list[Demand]:
        """Who of the next `LOOKAHEAD` would buy a node, as far as their projects may hold more beside `demand`."""
        engine, gate, found = self._engine, self._engine.gate, list[Demand]()
        if engine.kept_for(demand.job_id):
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
class Shared:
    """A node, how many more find room on it, and what these would cost alone."""

    node: Expected
    riders: int
    saved_micros: int


def cheapest(
    ask: Ask, best: Expected, others: Iterable[Expected], alone: Sequence[tuple[Ask, int]], spares: Spares
) -> Shared:
    """Of `best` and `others` the node that is cheapest net of its riders. `alone`: who comes next, and its cost alone.

    `spares` is what is left of nodes on their way; it is used up.
    """
    need_more = [one for one in alone if spares.take(one[0]) is None]
    found = [_with_riders(ask, node, need_more) for node in [best, *_shapes(others)]]
    return min(found, key=lambda one: (one.node.usd_micros - one.saved_micros, one.node.usd_micros, one.node.offer.key))


def _shapes(nodes: Iterable[Expected]) -> list[Expected]:
    """The cheapest of each shape."""
    found: dict[tuple[object, ...], Expected] = {}
    for one in sorted(nodes, key=lambda one: (one.usd_micros, one.offer.key)):
        offer = one.offer
        found.setdefault((offer.gpu_model, offer.gpu_count, offer.cpus, offer.memory_gib, offer.spot), one)
    return list(found.values())[:SHAPES]


def _with_riders(ask: Ask, node: Expected, need_more: Sequence[tuple[Ask, int]]) -> Shared:
    spare = Spare.all_of(NodeKind.of(node.offer), _ON_PAPER)
    spare.take(ask)
    costs = [cost for other, cost in need_more if spare.take(other)]
    return Shared(node, len(costs), sum(costs))
