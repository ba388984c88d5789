"""Many nodes with the same trouble at once have one cause outside of them: a switch, a driver, the storage.

The first two are taken for what they seem. From the third on each is an incident of the first one's cause and held: a
switch that restarts is back before the hold ends, and then nothing was wrong with the nodes.
"""

from collections.abc import Iterator

from godwit.domain.health import Finding, Incident
from godwit.domain.nodes import Node
from godwit.scheduler.health.casebook import Casebook, takes_out


def cause_of(finding: Finding, node: Node, book: Casebook) -> Incident | None:
    """The incident that began the burst which this finding is a part of; None when it is no burst."""
    policy = book.policy
    same = [one for one in _alike(finding, book) if finding.at - one.opened_at <= policy.correlated_s]
    same = [one for one in same if one.opened_at <= finding.at + policy.correlated_s]
    for is_near in (_same_fabric, _same_provider):
        near = [one for one in same if is_near(one, node, book)]
        if len({one.node_id for one in near} | {node.id}) >= policy.correlated_nodes:
            first = min(near, key=lambda one: (one.opened_at, one.id))
            return next((one for one in _all(book) if one.id == first.cause), first)
    return None


def _alike(finding: Finding, book: Casebook) -> Iterator[Incident]:
    name = finding.code or finding.check
    return (one for one in _all(book) if (one.code or one.check) == name and takes_out(one))


def _all(book: Casebook) -> Iterator[Incident]:
    yield from book.view.past
    for active in book.active.values():
        yield from active


def _same_fabric(one: Incident, node: Node, book: Casebook) -> bool:
    there = book.node(one.node_id)
    is_same = there is not None and there.offer.fabric_domain == node.offer.fabric_domain
    return is_same and node.offer.fabric_domain is not None and _same_provider(one, node, book)


def _same_provider(one: Incident, node: Node, book: Casebook) -> bool:
    del book
    return one.provider == node.offer.provider
