"""Writes down for which machines a provider takes money, from when until when, as its own lists tell it.

Every listed machine with our mark has a bill, also one that no living node has: what is paid must be in the ledger.
"""

from collections.abc import Iterable, Mapping

from godwit.control_plane.store import bills, queries
from godwit.control_plane.store.bills import Known
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import NotFound
from godwit.domain.ids import NodeId
from godwit.domain.intents import IntentKind, IntentState
from godwit.domain.nodes import Node
from godwit.domain.offers import Instance, InstanceState
from godwit.providers.protocol import Provider
from godwit.scheduler.ledger.bills import Bill
from sqlalchemy import Connection

ABSENT_AFTER_S = 10.0
"""How long a machine must be missing from complete lists before its meter counts as stopped: lists lag by seconds."""

LAUNCH_SKEW_S = 300.0
"""How far a provider's word for when a machine began may lie before its node was made, or after now; what is further
off is a clock that is wrong, or a word for something else."""

NEW_MAX = 200
"""Bills that are opened from one list; the next one brings more. All of thousands at once would keep every heartbeat
waiting for the transaction, and when a machine began does not change with when it is written down."""

_STOPPED = frozenset({InstanceState.STOPPING, InstanceState.TERMINATED})
"""States in which no cloud that we know bills a machine any more. Of others that are off, some do."""


class Billing:
    """Mirrors the bills of one provider. Knows what it wrote, so that a list that says nothing new costs nothing."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._known: dict[str, Known] | None = None
        self._absent_since: dict[str, float] = {}

    def mirror(
        self, tx: Transaction, ours: Iterable[Instance], owners: Mapping[str, str], now: float
    ) -> dict[str, Known]:
        """Write what a complete list says; `owners` are the nodes of launch tokens. Hand what it returns to `wrote`
        once the transaction is committed.
        """
        known = dict(bills.known(tx.conn, self._provider.name) if self._known is None else self._known)
        listed = {str(instance.id): instance for instance in ours}
        new = 0
        for bill_id, instance in listed.items():
            self._absent_since.pop(bill_id, None)
            new += bill_id not in known
            if bill_id not in known and new > NEW_MAX:
                continue
            known[bill_id] = self._seen(tx, known.get(bill_id), instance, owners.get(instance.token or ""), now)
        for bill_id, was in list(known.items()):
            if bill_id in listed:
                continue
            if was.ended_at is not None:
                del known[bill_id]
            elif now - self._absent_since.setdefault(bill_id, now) >= ABSENT_AFTER_S:
                ended_at = self._absent_since.pop(bill_id)
                bills.end(tx, self._provider.name, bill_id, ended_at, is_told=False)
                del known[bill_id]
        return known

    def wrote(self, known: dict[str, Known]) -> None:
        """What `mirror` wrote is committed."""
        self._known = known

    def _seen(self, tx: Transaction, was: Known | None, instance: Instance, owner: str | None, now: float) -> Known:
        if was is None:
            was = bills.find(tx.conn, self._provider.name, instance.id)
        if was is None:
            self._add(tx, instance, owner, now)
            was = Known(None, is_told=False)
        found = was
        if instance.billed_until is not None:
            found = Known(instance.billed_until, is_told=True)
        elif instance.state in _STOPPED and was.ended_at is None:
            found = Known(_asked_to_end_at(tx.conn, owner, now), is_told=False)
        elif instance.state not in _STOPPED and not was.is_told and was.ended_at is not None:
            found = Known(None, is_told=False)  # a list that lagged had left it out
        if found != was:
            bills.end(tx, self._provider.name, instance.id, found.ended_at, is_told=found.is_told)
        return found

    def _add(self, tx: Transaction, instance: Instance, owner: str | None, now: float) -> None:
        node = _owner(tx.conn, instance, owner)
        offers = queries.offers(tx.conn, self._provider.name) if node is None else [node.offer]
        sort = (instance.instance_type, instance.spot)
        sold_as = next(
            (one for one in offers if (one.instance_type, one.spot) == sort), None if node is None else node.offer
        )
        price = instance.price_usd_per_hour or (0.0 if sold_as is None else sold_as.price_usd_per_hour)
        began_at, can = _began_at(instance, node, now), self._provider.capabilities
        bill = Bill(
            instance.id, self._provider.name, None if node is None else node.id,
            0 if sold_as is None else sold_as.gpu_count, price, instance.spot, began_at,
            step_s=can.billing_step_s, least_s=can.billing_least_s,
        )  # fmt: skip
        bills.add(tx, bill, "" if sold_as is None else sold_as.key)


def _began_at(instance: Instance, node: Node | None, now: float) -> float:
    """When a machine began, by its provider's word: its clock and ours need not agree, ours may have been set."""
    made_at = now if node is None else node.created_at
    is_believed = made_at - LAUNCH_SKEW_S <= instance.created_at <= now + LAUNCH_SKEW_S
    return instance.created_at if is_believed else made_at


def _owner(conn: Connection, instance: Instance, owner: str | None) -> Node | None:
    """The node that has this machine; None for a second one of its token, and for one that came after its end."""
    if owner is None:
        return None
    try:
        node = queries.node(conn, NodeId(owner))
    except NotFound:
        return None
    is_its_own = node.instance_id == instance.id
    may_become = node.instance_id is None and not lifecycle.is_final(node.state)
    return node if is_its_own or may_become else None


def _asked_to_end_at(conn: Connection, owner: str | None, now: float) -> float:
    """When the provider took on the end of a machine: from then on it bills no more."""
    asked = [] if owner is None else queries.intents_of(conn, owner, IntentKind.TERMINATE_NODE)
    return min((intent.state_since for intent in asked if intent.state is IntentState.DONE), default=now)
