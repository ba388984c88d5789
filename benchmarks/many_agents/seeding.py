"""The rows of a fleet on paper: machines that boot, or nodes that joined long ago and run gangs of sixteen."""

from collections.abc import Sequence

from godwit.control_plane.services.node_access import NO_HASH
from godwit.control_plane.store import bills, entities, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import AttemptId, GpuUuid, IntentId, JobId, ProjectId, ProviderName
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState, Resources, Slot
from godwit.domain.nodes import Gpu, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import parse_gpus
from godwit.scheduler.ledger.bills import Bill

from benchmarks.many_agents import paper

GPUS, GANG, DOMAIN = 8, 16, 64
"""GPUs of a machine, nodes of one job, machines of one fabric."""


LEASE_S = 30.0


def agent_id(number: int) -> str:
    """The agent of machine `number`."""
    return f"agent-{number:08x}"


def address(number: int) -> str:
    """Where machine `number` would be reached."""
    return f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}"


def booting(tx: Transaction, numbers: Sequence[int], now: float) -> None:
    """Machines that were launched, and whose agents have not joined yet."""
    for number in numbers:
        _add(tx, number, NodeState.JOINING, now)


def joined(tx: Transaction, numbers: Sequence[int], now: float) -> None:
    """Nodes that are ready, fifteen of sixteen with a job that runs on gangs of sixteen."""
    for number in numbers:
        _add(tx, number, NodeState.READY, now)
        bill = Bill(
            paper.instance_id(number), ProviderName("paper"), paper.node_id(number), GPUS, paper.PRICE_USD_PER_HOUR,
            False, now,
        )  # fmt: skip
        bills.add(tx, bill, "paper")
        writes.add_agent(tx, paper.node_id(number), agent_id(number), NO_HASH, now)
    gangs = [numbers[at : at + GANG] for at in range(0, len(numbers) - GANG + 1, GANG)]
    for gang in gangs:
        if gang[0] // GANG % 16 != 15:
            _gang(tx, gang, now)


def attempt_of(number: int, count: int) -> AttemptId | None:
    """What runs on machine `number` of `count` that joined."""
    gang = number // GANG
    return None if gang % 16 == 15 or (gang + 1) * GANG > count else AttemptId(f"attempt-{gang:06x}")


def _add(tx: Transaction, number: int, state: NodeState, now: float) -> None:
    offer = Offer(
        ProviderName("paper"), "north", None, "h100.8x", "H100-SXM", GPUS, 80.0, 208, 1800.0, paper.PRICE_USD_PER_HOUR,
        fabric_domain=f"north/{number // DOMAIN}",
    )  # fmt: skip
    is_there = state is not NodeState.JOINING
    gpus = tuple(Gpu(GpuUuid(f"GPU-{number:x}-{i}"), i, "H100-SXM", 80.0) for i in range(GPUS if is_there else 0))
    seen_at, until = (now, now + LEASE_S) if is_there else (None, None)
    node = Node(
        paper.node_id(number), offer, state, now, now, paper.instance_id(number), address(number), gpus, 208, 1800.0,
        seen_at, until, idle_since=seen_at,
    )  # fmt: skip
    entities.insert(tx, node)
    why = "the benchmark wants it"
    entities.insert(
        tx, Intent(paper.launch_id(number), IntentKind.LAUNCH_NODE, IntentState.DONE, node.id, now, now, why)
    )


def _gang(tx: Transaction, gang: Sequence[int], now: float) -> None:
    number, project = gang[0] // GANG, ProjectId("default")
    job_id = JobId(f"job-{number:06x}")
    resources = Resources(gpus=parse_gpus(f"H100:{GPUS}"), nodes_min=len(gang), nodes_max=len(gang))
    spec = JobSpec(name=f"train-{number}", run="true", resources=resources, project=project)
    slots = tuple(
        Slot(paper.node_id(n), rank, tuple(range(GPUS)), address(n), gpu_milli=1000) for rank, n in enumerate(gang)
    )
    attempt = Attempt(
        AttemptId(f"attempt-{number:06x}"), job_id, 1, AttemptState.RUNNING, slots, 20_000, now, now
    )  # fmt: skip
    entities.insert(tx, Job(job_id, project, spec, JobState.RUNNING, now, now, epoch=1))
    entities.insert(tx, attempt)
    for n in gang:
        intent = IntentId(f"intent-start-{n:06x}")
        start = Intent(
            intent, IntentKind.START_ATTEMPT, IntentState.DONE, paper.node_id(n), now, now, "placed", attempt.id, job_id
        )
        entities.insert(tx, start)
