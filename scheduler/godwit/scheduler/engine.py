"""The incremental planner: told of every change, it keeps its indexes true and decides in time that grows with news.

`planner.plan` makes one from a snapshot; simulators and benchmarks keep one and tell it what happened. Both get the
same decisions: an engine that was told of a thousand changes decides as one that was made from what is so now.

A pass looks at waiting demands in order, one *class* of them at a time: demands that ask alike and stand alike. What
one of a class is refused, the others of it are refused as well, since nothing becomes free within a pass. Classes whose
gang fits nowhere are not looked at, however many they are, unless running jobs may yield.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping

from godwit.scheduler import gangs
from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import Cluster, Share
from godwit.scheduler.demands import Decision, Demand, Running, Start, Yield
from godwit.scheduler.fits import Fits, Scorer, best_fit
from godwit.scheduler.policies import ByPriority, Gate, Nobody, Open, Order, Rank, Yielding
from godwit.scheduler.reservations import Desk, Patience, Reservation
from godwit.scheduler.waiting import Class, Key, Waiting

_Head = tuple[Rank, Key, int, Class]
"""A class in a pass, in the order in which classes are served: the turn of its first demand, and that one's key."""


NO_ROOM = "no-room"
"""The fleet has no place for the gang now."""

_MOST_NEWS = 65_536
"""Starts and ends kept for readers; one that is further behind reads all that runs again."""


class Engine:
    """Demands, what runs, and a cluster. Not safe for several threads."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        order: Order | None = None,
        gate: Gate | None = None,
        yielding: Yielding | None = None,
        scorer: Scorer = best_fit,
        patience: Patience | None = None,
    ) -> None:
        self.cluster = cluster
        self.running: dict[str, Running] = {}
        self.order, self.gate, self.yielding = order or ByPriority(), gate or Open(), yielding or Nobody()
        self._scorer = scorer
        self._fits: dict[Ask, Fits] = {}
        self.waiting = Waiting()
        self._yielded: dict[str, set[str]] = {}
        self._keepers: dict[str, list[str]] = {}
        self._wake_at: float | None = None
        self._desk = None if patience is None else Desk(self, patience)
        self.news: list[str] = []
        self.dropped_news = 0

    def submit(self, demand: Demand) -> None:
        """A demand begins to wait."""
        rank = self.order.rank(demand, demand.served_gpu_s)
        # What has nodes of its own is unlike any other.
        self.waiting.add(demand, rank, is_unlike_others=demand.job_id in self._keepers)

    def withdraw(self, job_id: str) -> None:
        """It waits no more, and nothing is kept for it."""
        self.waiting.remove(job_id)
        self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        self._break_promise(job_id)
        for node_id in self._keepers.pop(job_id, []):
            if node_id in self.cluster.row_of:
                self.cluster.hold(node_id, None)

    def _break_promise(self, job_id: str) -> None:
        if self._yielded.pop(job_id, None) is not None:
            self.gate.forgotten(job_id)

    def keep(self, node_id: str, demand: Demand) -> None:
        """Keep a node for a demand until it starts or is withdrawn, waiting or not yet."""
        self.cluster.hold(node_id, demand.job_id)
        self._keepers.setdefault(demand.job_id, []).append(node_id)
        if demand.job_id in self.waiting:
            self.waiting.remove(demand.job_id)
            self.submit(demand)

    def kept_for(self, job_id: str) -> list[str]:
        """Nodes that are kept for a job."""
        return self._keepers.get(job_id, [])

    def started(self, demand: Demand, shares: Iterable[Share], now: float) -> None:
        """It runs on these shares."""
        held = tuple(shares)
        for share in held:
            self.cluster.take(share)
        self.gate.started(demand, len(held))
        self.running[demand.job_id] = Running(demand, held, now, now)
        self._tell(demand.job_id)

    def ended(self, job_id: str) -> Running:
        """It runs no more, and what it held is free."""
        running = self.running.pop(job_id)
        for share in running.shares:
            self.cluster.give(share)
        self.gate.ended(running.demand, len(running.shares))
        if running.yields_to in self._yielded:
            self._yielded[running.yields_to].discard(job_id)
        self._tell(job_id)
        return running

    def saved(self, job_id: str, at: float) -> None:
        """A checkpoint of it was committed."""
        self.running[job_id].saved_at = at
        self._tell(job_id)

    def wake(self, at: float) -> None:
        """For whoever decides here: look again then at the latest, though nothing else may have happened."""
        self._wake_at = at if self._wake_at is None else min(at, self._wake_at)

    @property
    def wake_at(self) -> float | None:
        """When whoever decided here asked to be looked at again; None when nobody did since the last pass began."""
        return self._wake_at

    def _tell(self, job_id: str) -> None:
        # Readers that keep something per running job follow this, as readers of the cluster follow its changes.
        self.news.append(job_id)
        if len(self.news) > 2 * _MOST_NEWS:
            del self.news[:_MOST_NEWS]
            self.dropped_news += _MOST_NEWS

    def score_by(self, scorer: Scorer) -> None:
        """Judge nodes by this from now on. Every score that was kept is forgotten: not for every decision."""
        self._scorer = scorer
        self._fits.clear()

    def fits(self, ask: Ask) -> Fits:
        """Where an ask fits now."""
        found = self._fits.get(ask)
        if found is None:
            found = self._fits[ask] = Fits(self.cluster, ask, self._scorer)
        return found.refresh()

    def room(self, demand: Demand, now: float = 0.0) -> list[int] | None:
        """Rows for its gang, as many nodes as it takes and may hold, or None. What is kept for it counts."""
        fits = self.fits(demand.ask)
        lent = self._desk.lent(demand, now) if self._desk is not None else ()
        is_own = lent or demand.stood_on or demand.job_id in self._keepers
        key = fits.keys_for(demand.job_id, lent, demand.stood_on) if is_own else None
        rows = gangs.find(self.cluster, fits, demand, key)
        while rows is not None and len(rows) > demand.nodes_min and self.gate.refusal(demand, len(rows)) is not None:
            rows.pop()
        return rows

    def decide(self, now: float) -> Decision:
        """One pass over who waits. What it starts is booked here; what yields runs on until `ended` is told."""
        decision, self._wake_at = Decision(), None
        others_hope = self.yielding.may_help_anybody(self, now)
        if self._desk is not None:
            self._serve_heads(self._desk, now, decision)
        lines = list(self._lines(now, others_hope=others_hope))
        heads = [(*line[0][:2], number) for number, line in enumerate(lines)]
        heapq.heapify(heads)
        while heads:
            number = heapq.heappop(heads)[2]
            line = lines[number]
            head = heapq.heappop(line)
            one = head[3]
            why: str | None = "shut"
            if self._may_get(one, now, others_hope=others_hope):
                is_late = self.order.turn(one.first, now) > head[0]
                why = None if is_late else self.serve(one.first, now, decision)
            if why is None and one.waiting:
                heapq.heappush(line, self._head(one, now))
            elif why == NO_ROOM:
                # Nor has anybody else of this shape, unless it has something of its own or somebody may yield to it.
                line[:] = [head for head in line if self._has_other_hope(head[3].first, now)]
                heapq.heapify(line)
            if line:
                heapq.heappush(heads, (*line[0][:2], number))
        for job_id in [job_id for job_id, still_there in self._yielded.items() if not still_there]:
            self._break_promise(job_id)  # all who yielded to it are gone, and it had its turn
        decision.wake_at = self._wake_at
        return decision

    def _serve_heads(self, desk: Desk, now: float, decision: Decision) -> None:
        """The first of the queue, in strict order, until enough of them are blocked; these get nodes kept."""
        desk.clear()
        classes = (one for one in self.waiting.classes() if self._may_get(one, now, others_hope=True))
        heads = [(*self._head(one, now), 0) for one in classes]
        heapq.heapify(heads)
        while heads and not desk.is_full:
            *_, one, place = heapq.heappop(heads)
            demand = one.waiting[place][1]
            why = self.serve(demand, now, decision) if place == 0 else NO_ROOM
            if why == NO_ROOM and desk.reserve(demand, now):
                place += 1
            elif why is not None:
                continue
            if place < len(one.waiting):
                heapq.heappush(heads, (self.order.turn(demand, now), one.waiting[place][0], id(one), one, place))

    def reserve(self, demand: Demand, now: float) -> Reservation | None:
        """Keep nodes for a blocked demand, if it is one of the first; what is kept already stays."""
        return None if self._desk is None or self._desk.is_full else self._desk.reserve(demand, now)

    def reservations(self) -> Mapping[str, Reservation]:
        """What is kept for the first of the queue since the last pass, by job."""
        return {} if self._desk is None else self._desk.reservations

    def blocked(self) -> dict[str, str]:
        """Why the first of each class of waiting demands gets nothing: the gate's word, or that there is no room."""
        firsts = (one.first for one in self.waiting.classes())
        return {demand.job_id: self.gate.refusal(demand, demand.nodes_min) or NO_ROOM for demand in firsts}

    def _lines(self, now: float, *, others_hope: bool) -> Iterator[list[_Head]]:
        """For each shape a heap of its classes that may get something in this pass."""
        others_hope = others_hope or bool(self._keepers) or self._desk is not None
        for (ask, nodes, within), alike in self.waiting.shapes():
            if self.fits(ask).most[within] >= nodes:
                line = [self._head(one, now) for one in alike if self._may_get(one, now, others_hope=others_hope)]
            elif others_hope:
                line = [self._head(one, now) for one in alike if self._has_other_hope(one.first, now)]
            else:
                continue
            if line:
                heapq.heapify(line)
                yield line

    def _may_get(self, one: Class, now: float, *, others_hope: bool) -> bool:
        """Whether the gate lets the first of a class in, or somebody may yield to it."""
        return self._refusal(one) is None or (others_hope and self.yielding.may_help(one.first, self, now))

    def _refusal(self, one: Class) -> str | None:
        demand, group = one.first, one.group
        if demand.job_id in self._yielded:
            return self.gate.refusal(demand, demand.nodes_min)  # what others free is promised to it alone
        stamp = self.gate.stamp(demand.project)
        if group.stamp != stamp:
            group.stamp, group.why = stamp, self.gate.refusal(demand, demand.nodes_min)
        return group.why

    def _head(self, one: Class, now: float) -> _Head:
        return (self.order.turn(one.first, now), one.key, id(one), one)

    def _has_other_hope(self, demand: Demand, now: float) -> bool:
        lent = self._desk is not None and bool(self._desk.lent(demand, now))
        return lent or demand.job_id in self._keepers or self.yielding.may_help(demand, self, now)

    def in_turn(self, now: float) -> Iterator[Demand]:
        """Every waiting demand in the order of its turn, asked again as starts are booked; for whoever serves each."""
        return self.waiting.in_turn(self.order, now, self._yielded)

    def serve(self, demand: Demand, now: float, decision: Decision) -> str | None:
        """Start one demand that waits, or find who yields to it; says why it did not start, None when it did."""
        why = self.place(demand, now, decision)
        if why is not None:
            self.make_room(demand, why, now, decision)
        return why

    def place(self, demand: Demand, now: float, decision: Decision) -> str | None:
        """Start one demand that waits; says why it did not start, None when it did."""
        why = self.gate.refusal(demand, demand.nodes_min)
        rows = self.room(demand, now) if why is None else None
        if rows is None:
            return why or NO_ROOM
        shares = tuple(self.cluster.share(row, demand.ask) for row in rows)
        self.waiting.remove(demand.job_id)
        self.started(demand, shares, now)
        self._forget(demand.job_id)
        decision.starts.append(Start(demand, shares))
        return None

    def make_room(self, demand: Demand, why: str, now: float, decision: Decision) -> None:
        """Find who yields to a demand that was refused, unless somebody does already."""
        # Who yielded to it and is gone did not help: somebody else may be asked.
        if self._yielded.get(demand.job_id) or not self.yielding.may_help(demand, self, now):
            return
        chosen = self.yielding.choose(demand, why, self, now)
        for job_id in chosen:
            decision.yields.append(Yield(job_id, demand.job_id, self.running[job_id].lost_gpu_s(now)))
        self.gives_way(chosen, demand)

    def who_yields_to(self, job_id: str) -> list[str]:
        """The running jobs that were told to yield to a waiting one, and still run."""
        return sorted(self._yielded.get(job_id, ()))

    def gives_way(self, job_ids: Collection[str], demand: Demand) -> None:
        """These running jobs were told to yield to a waiting demand."""
        for job_id in job_ids:
            self.running[job_id].yields_to = demand.job_id
            self._tell(job_id)
        if job_ids:
            self._yielded[demand.job_id] = set(job_ids)
            told = (self.running[job_id] for job_id in job_ids)
            self.gate.promised(demand, {one.demand: len(one.shares) for one in told})
