"""Devices that are known to be bad and turn up again, on a machine that was just bought: they are refused.

Providers sell a machine that was given back once more, sometimes as it is. Its GPUs tell: their UUIDs do not change.
"""

from collections.abc import Iterator

from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import GpuUuid
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health import findings, steps
from godwit.scheduler.health.breaker import Budget
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import Rule
from godwit.scheduler.plan import Action, OpenIncident

BAD = frozenset({Health.FAULTY, Health.QUARANTINED, Health.RETIRED})
PRESENT = frozenset({NodeState.READY, NodeState.CORDONED})


def devices(book: Casebook, budget: Budget) -> Iterator[Action]:
    """Open an incident for each machine that brings GPUs which were bad elsewhere."""
    if not any(record.state in BAD for record in book.view.records.values()):
        return
    for node in book.snapshot.nodes:
        gpus = tuple(gpu.uuid for gpu in node.gpus if gpu.health in BAD and _is_from_elsewhere(gpu.uuid, node, book))
        if gpus and node.state in PRESENT and not node.gone:
            yield from _refuse(node, gpus, book, budget)


def _is_from_elsewhere(gpu: GpuUuid, node: Node, book: Casebook) -> bool:
    """Whether a GPU is remembered as bad, and no incident of this very machine is why."""
    ours = (*book.incidents_on(node.id), *(one for one in book.view.past if one.node_id == node.id))
    return gpu in book.view.records and not any(gpu in one.gpus or not one.gpus for one in ours)


def _refuse(node: Node, gpus: tuple[GpuUuid, ...], book: Casebook, budget: Budget) -> Iterator[Action]:
    reason = f"{gpus[0]} is {book.health_of(gpus[0])} since it was on another machine"
    record = book.view.records.get(gpus[0])
    if record is not None and record.reason:
        reason += f": {record.reason}"
    acts = book.policy.acts and book.view.tripped_at is None and budget.refusal(node) is None
    incident = Incident(
        findings.incident_id(f"known-{node.id}"), node.id, node.offer.provider,
        IncidentState.OPEN if acts else IncidentState.HELD, book.now, book.now, "known", "known", str(Rule.KNOWN),
        reason, Remedy.REPLACE_NODE, gpus=gpus,
    )  # fmt: skip
    yield OpenIncident(incident, reason)
    if acts:
        yield from steps.begin(incident, node, book, budget)
    book.open(incident)
