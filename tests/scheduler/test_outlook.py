"""Where a waiting job stands, and when it may start."""

from godwit.domain.jobs import JobState
from godwit.domain.nodes import NodeState
from godwit.scheduler import planner
from godwit.scheduler.outlook import Outlook
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.trust import Record

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world


def outlook(snapshot: Snapshot, name: str) -> Outlook:
    waiting = next(one for one in snapshot.jobs if one.id == name)
    return planner.preview(snapshot, waiting, NOW, 1).outlooks[waiting.id]


def test_a_job_that_starts_now_has_no_outlook() -> None:
    made = planner.preview(world(nodes=[node("n1")]), job("a"), NOW, 1)
    assert made.outlooks == {}


def test_a_job_knows_its_place_behind_higher_priorities_and_older_ones() -> None:
    queue = [job("young", created_at=NOW), job("old"), job("vip", priority=100, created_at=NOW)]
    places = {one.id: outlook(world(jobs=queue), one.id).position for one in queue}
    assert places == {"vip": 1, "old": 2, "young": 3}


def test_a_job_whose_node_boots_starts_when_such_nodes_did_before() -> None:
    sold = offer()
    coming = node("n1", sold, NodeState.PROVISIONING, reserved_for="a", gpus=(), created_at=NOW - 60)
    snapshot = world(jobs=[job("a")], nodes=[coming], records={sold.key: Record(ready=2, ready_s=400.0)})
    found = outlook(snapshot, "a")
    assert (found.earliest, found.latest) == (NOW + 140, NOW + 340)


def test_what_nobody_knows_is_said_to_be_unknown() -> None:
    busy = job("busy", state=JobState.RUNNING)
    fleet = [node("n1")]
    found = outlook(world(jobs=[busy, job("a")], nodes=fleet, attempts=[attempt(busy, fleet[0])]), "a")
    assert (found.earliest, found.latest) == (None, None)
    assert "nobody knows" in found.because
