"""What is promised of services and their gateways, checked against what really runs."""

from collections import Counter
from dataclasses import replace

from godwit.control_plane.context import Context
from godwit.control_plane.services import traffic
from godwit.control_plane.store import queries
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Database
from godwit.control_plane.store.ledger_tables import served_tokens
from godwit.domain.clock import ManualClock
from godwit.domain.jobs import Attempt, AttemptState, Outcome
from godwit.domain.services import Replica, ReplicaState, Service
from godwit.scheduler import departures
from sqlalchemy import Connection, func, select

from tests.simulation.gateways import Gateway
from tests.simulation.invariants import Violation

DRAIN_S = 8.0

STALE_S = 60.0
"""How long a gateway may ask a process that has ended: until its node's lease is over where the node is silent."""


class Promises:
    """What of a world with services is checked; the rest of the world is its own."""

    clock: ManualClock
    context: Context
    database: Database
    gateways: list[Gateway]
    seen: Counter[str]

    _draining_since: dict[str, float]
    _told: set[str]
    _ended_at: dict[str, float]
    _troubled_at: float

    def _standing(self) -> list[tuple[Service, list[Replica]]]:
        with self.database.read() as conn:
            return [(of, stored.replicas_of(conn, of.id)) for of in stored.alive(conn)]

    def _check_routes(self) -> None:
        """No two replicas are one process, and none is routed whose process has ended. Raises `Violation`."""
        with self.database.read() as conn:
            attempts = {one.id: one for one in queries.live_attempts(conn)}
        used = Counter[str]()
        for of, replicas in self._standing():
            for one in replicas:
                if one.state is not ReplicaState.READY:
                    continue
                attempt = attempts.get(one.attempt_id) if one.attempt_id is not None else None
                if attempt is None or attempt.state is not AttemptState.RUNNING or attempt.job_id != one.job_id:
                    raise Violation(f"{one.name} of {of.name} takes requests, and its attempt does not run")
                used[attempt.id] += 1
        if any(count > 1 for count in used.values()):
            raise Violation(f"two replicas are one process: {used}")

    def _check_stops(self) -> None:
        """Whoever is told to stop has nothing in flight, or had its time. Raises `Violation`."""
        now = self.context.now()
        for _, replicas in self._standing():
            for one in replicas:
                if one.state is ReplicaState.DRAINING:
                    self._draining_since.setdefault(one.id, one.state_since)
        with self.database.read() as conn:
            live = [one for one in queries.live_attempts(conn) if one.state is AttemptState.STOPPING]
            new = [one for one in live if one.id not in self._told]
            self._told |= {one.id for one in new}
            for attempt in new:
                replica = stored.replica(conn, attempt.job_id)
                if replica is not None and not self._may_stop(conn, attempt, now):
                    flying = [one.in_flight[attempt.id] for one in self.gateways]
                    why = f"{flying} requests in flight: {attempt.detail}"
                    raise Violation(f"{replica.name} is told to stop ({attempt.outcome}) with {why}")

    def _may_stop(self, conn: Connection, attempt: Attempt, now: float) -> bool:
        if attempt.outcome in {Outcome.FAILED, Outcome.INTERRUPTED}:
            return True  # it ended by itself, or was lost
        there = {node.id: node for node in queries.nodes(conn)}
        going = departures.of(replace(attempt, state=AttemptState.RUNNING), there)
        self.seen[f"{attempt.outcome}"] += 1
        if going is not None and going.by <= now:
            return True
        if attempt.outcome is Outcome.CANCELLED:
            since = self._draining_since.get(attempt.job_id, now)
            return now - since >= DRAIN_S or all(self._has_left(one, attempt) for one in self.gateways)
        if attempt.outcome is Outcome.EVICTED and "when the backup was taken" in attempt.detail:
            return True  # what became of it since is not known
        lost = any(slot.node_id not in there or there[slot.node_id].gone for slot in attempt.slots)
        told = queries.events(conn, 0, 1_000, job_id=attempt.job_id)
        return lost or any(one.kind == "job.evicted" and one.data.get("saves") is False for one in told)

    def _has_left(self, gateway: Gateway, attempt: Attempt) -> bool:
        """Whether a gateway is done with a process, or is dead or cut off for so long that nobody waits for it."""
        now = self.clock.now()
        if now < gateway.back_at or now - gateway.asked_at > traffic.SILENT_S:
            return True
        return not gateway.in_flight[attempt.id] and not gateway.leads_to(attempt.id)

    def _check_in_vain(self, gateway: Gateway, in_vain: list[str], now: float) -> None:
        """No gateway that hears the control plane asks processes that ended long ago. Raises `Violation`."""
        since = max(self._troubled_at, gateway.cut_off_until, gateway.back_at)
        late = [one for one in in_vain if now - max(since, self._ended_at.get(one, since)) > STALE_S]
        self.seen["asked in vain"] += len(in_vain)
        if late:
            raise Violation(f"{gateway.name} asks {late}, which ended more than {STALE_S:.0f} s ago")

    def _check_counts(self) -> None:
        """Each request that a gateway took counts once; what died with a gateway may be lost. Raises `Violation`."""
        table = served_tokens
        with self.database.read() as conn:
            query = select(table.c.project, table.c.service, func.sum(table.c.requests))
            counted = {
                (row[0], row[1]): row[2] for row in conn.execute(query.group_by(table.c.project, table.c.service))
            }
        sent, lost = (
            sum((g.sent for g in self.gateways), Counter()),
            sum((g.maybe_lost for g in self.gateways), Counter()),
        )
        self.seen["counted"] += sum(counted.values())
        is_exact = not self.seen["restore"] and not any(one.clock_went_back for one in self.gateways)
        for ref in sent:
            least = sent[ref] - lost[ref] if is_exact else 0
            if not least <= counted.get(ref, 0) <= sent[ref]:
                raise Violation(f"{ref} took {sent[ref]} requests, {lost[ref]} may be lost; {counted.get(ref)} counted")
