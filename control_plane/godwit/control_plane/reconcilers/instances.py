"""Mirrors what providers list into nodes, and ends what nobody owns."""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.reconcilers.billing import Billing
from godwit.control_plane.reconcilers.foreign import Foreigners
from godwit.control_plane.reconcilers.orphans import Orphans
from godwit.control_plane.services import history, nodes
from godwit.control_plane.store import entities, fleet_rows, queries, writes
from godwit.control_plane.store.bills import Known
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import ProviderError, StaleWrite
from godwit.domain.events import Event
from godwit.domain.ids import IntentId, NodeId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Instance, InstanceState
from godwit.providers.protocol import Provider
from godwit.scheduler.trust import Record

log = structlog.get_logger()

ABSENT_AFTER_S = 10.0
"""How long an instance must be missing from complete lists before it counts as gone: lists lag by seconds."""

BOOTING = ((NodeState.REQUESTED, NodeState.PROVISIONING), (NodeState.PROVISIONING, NodeState.JOINING))
"""The edges that a running machine takes before its agent joins."""

OFF = frozenset({InstanceState.FAILED, InstanceState.STOPPED})
"""Instance states in which the machine certainly runs nothing, although it may still be billed."""


class InstanceWatch:
    """Watches one provider. `step` lists once and writes what changed; it is safe to repeat."""

    def __init__(self, context: Context, provider: Provider) -> None:
        self._context = context
        self._provider = provider
        self._absent_since: dict[str, float] = {}
        self._swept: set[str] = set()
        self._billing = Billing(provider)
        self.foreign = Foreigners(context, provider.name)
        self._orphans = Orphans(context, provider.name)
        self.last_contact_at: float | None = None
        self.trouble = ""

    def step(self) -> None:
        """List the provider's instances and bring nodes in line. A provider that is away changes nothing."""
        # Nodes are read before the list: one that has an instance by then must be in it, or be gone.
        with self._context.db.read() as conn:
            machines = fleet_rows.machines_of(conn, self._provider.name)
        known = {node_id for node_id, instance_id in machines.items() if instance_id is not None}
        try:
            listed = self._provider.instances()
        except ProviderError as error:
            self.trouble = error.message
            return
        self.last_contact_at, self.trouble = self._context.now(), ""
        try:
            with self._context.db.write() as tx:
                billed = self._mirror(tx, listed, known)
        except StaleWrite as stale:
            log.debug("a node changed while its provider was read; the next list decides", why=stale.message)
            return
        self._billing.wrote(billed)
        self._sweep(listed)
        self.foreign.seen(listed)

    def _mirror(self, tx: Transaction, listed: Sequence[Instance], known: set[NodeId]) -> dict[str, Known]:
        now = self._context.now()
        ours = [i for i in listed if i.owner == self._context.identity]
        by_token = {i.token: i for i in ours if i.token is not None}
        owners = queries.launched_nodes(tx.conn, by_token)
        by_node = {node_id: by_token[token] for token, node_id in owners.items()}
        by_id = {str(i.id): i for i in ours if i.token in owners}
        billed = self._billing.mirror(tx, ours, owners, now)
        for node in queries.nodes(tx.conn, provider=self._provider.name):
            # The one that the node is known by, should its token have bought a second.
            instance = by_id.get(node.instance_id or "") or by_node.get(node.id)
            if instance is not None:
                self._absent_since.pop(node.id, None)
                self._seen(tx, node, instance, now)
            elif node.id in known:
                self._missing(tx, node, now)
        return billed

    def _seen(self, tx: Transaction, node: Node, instance: Instance, now: float) -> None:
        if node.instance_id is None:
            node = entities.save(tx, replace(node, instance_id=instance.id))
        if instance.state is InstanceState.TERMINATED:
            self._gone(tx, node, f"{self._provider.name} lists {instance.id} as terminated", now)
        elif instance.state in OFF and not node.gone and node.state is not NodeState.TERMINATING:
            detail = f"{self._provider.name} lists {instance.id} as {instance.detail or instance.state}"
            if node.state is not NodeState.LOST:
                writes.loss(tx, node.offer, now)
            entities.save(tx, replace(node, gone=True, detail=detail))
            self._tell(tx, node, "node.off", detail, now)
        elif instance.state is InstanceState.RUNNING:
            for before, after in BOOTING:
                if node.state is before:
                    reason = f"{self._provider.name} lists {instance.id} as running"
                    node = entities.advance(tx, node, after, reason=reason, actor=self._actor, now=now)
        if node.state is NodeState.TERMINATING and instance.state is not InstanceState.TERMINATED:
            self._insist(tx, node, instance, now)

    def _insist(self, tx: Transaction, node: Node, instance: Instance, now: float) -> None:
        """Terminated is believed only when the provider says so; until then it is asked again, with a pause."""
        if instance.state is InstanceState.STOPPING:
            return
        asked = queries.intents_of(tx.conn, node.id, IntentKind.TERMINATE_NODE)
        if any(i.state is IntentState.PENDING for i in asked) or now - asked[-1].state_since < ABSENT_AFTER_S:
            return
        reason = f"{instance.id} is still {instance.state} after it was told to end"
        again = Intent(
            IntentId(self._context.ids.new("intent")),
            IntentKind.TERMINATE_NODE,
            IntentState.PENDING,
            node.id,
            now,
            now,
            reason,
        )
        entities.insert(tx, again)
        tx.hint(hints.INTENTS)

    def _missing(self, tx: Transaction, node: Node, now: float) -> None:
        """Absent from a complete list: gone, unless its agent is heard or the list may just lag."""
        since = self._absent_since.setdefault(node.id, now)
        heard = node.last_seen_at is not None and now - node.last_seen_at < ABSENT_AFTER_S
        if now - since >= ABSENT_AFTER_S and (not heard or node.state is NodeState.TERMINATING):
            self._absent_since.pop(node.id, None)
            self._gone(tx, node, f"{self._provider.name} lists {node.instance_id} no more", now)

    def _gone(self, tx: Transaction, node: Node, reason: str, now: float) -> None:
        if node.state not in {NodeState.TERMINATING, NodeState.LOST} and not node.gone:
            writes.loss(tx, node.offer, now)
        writes.experience(tx, node.offer, Record(hours=max(0.0, now - node.created_at) / 3600))
        nodes.owe_no_more(tx, node, reason, self._actor, now)
        node = replace(node, gone=True)
        entities.advance(tx, node, NodeState.TERMINATED, reason=reason, actor=self._actor, now=now)

    def _sweep(self, listed: Sequence[Instance]) -> None:
        """End instances that carry our mark but are no living node's, or its second. Foreign ones are left alone.

        Whose they are is read after the list was: the row of an instance is older than the instance.
        """
        ours = [i for i in listed if i.owner == self._context.identity and i.state is not InstanceState.TERMINATED]
        with self._context.db.read() as conn:
            owners = queries.launched_nodes(conn, [i.token for i in ours if i.token is not None])
            living = fleet_rows.machines_of(conn, self._provider.name)
        spared = self._orphans.spared([i for i in ours if (i.token or "") not in owners])
        for instance in ours:
            owner = NodeId(owners.get(instance.token or "", ""))
            wanted = owner in living and living[owner] in {None, instance.id}
            if wanted or instance.id in spared or instance.state is InstanceState.STOPPING:
                continue
            if not self._context.leads():
                return  # whoever leads by now may know of it
            try:
                self._provider.terminate(instance.id)
            except ProviderError as error:
                log.warning("an orphan stays for the next sweep", instance=instance.id, why=error.message)
                continue
            if instance.id in self._swept:
                continue
            self._swept.add(instance.id)
            with self._context.db.write() as tx:
                entities.append(tx, self._orphan(instance))

    def _orphan(self, instance: Instance) -> Event:
        reason = f"instance {instance.id} at {self._provider.name} belongs to no living node and was ended"
        return Event(self._context.now(), "node.orphan", "node", instance.id, reason, self._actor)

    def _tell(self, tx: Transaction, node: Node, kind: str, reason: str, now: float) -> None:
        entities.append(tx, Event(now, kind, "node", node.id, reason, self._actor, node_id=node.id))

    @property
    def _actor(self) -> str:
        return f"provider {self._provider.name}"


class OfferWatch:
    """Refreshes what one provider sells. `step` reads once; a provider that is away keeps its last offers.

    `trouble` is why the last refresh failed, empty when it did not; `trouble_since` is when the refreshes began to
    fail. `refreshed_at` is when one last succeeded.
    """

    def __init__(self, context: Context, provider: Provider) -> None:
        self._context = context
        self._provider = provider
        self.trouble = ""
        self.trouble_since: float | None = None
        self.refreshed_at: float | None = None

    def step(self) -> None:
        """Read the provider's offers and replace what is stored."""
        trouble = "its offers could not be refreshed by a fault of godwit's own; the control plane's log says which"
        try:
            # Written on each offer, so that the planner knows it, and a node keeps what it was bought with.
            step_s = self._provider.capabilities.billing_step_s
            offers = [replace(offer, billing_step_s=step_s) for offer in self._provider.offers()]
            with self._context.db.write() as tx:
                writes.replace_offers(tx, self._provider.name, offers)
                history.priced(tx, self._provider.name, offers, self._context.now())
                tx.hint(hints.PLAN)
            trouble = ""
        except ProviderError as error:
            trouble = error.message
        finally:
            self._ended(trouble)

    def _ended(self, trouble: str) -> None:
        now = self._context.now()
        self.trouble = trouble
        if trouble:
            self.trouble_since = now if self.trouble_since is None else self.trouble_since
        else:
            self.trouble_since, self.refreshed_at = None, now
