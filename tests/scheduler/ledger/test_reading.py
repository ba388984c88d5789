"""Stories are read from what happened since an instant, and say what was before it."""

from dataclasses import replace
from math import inf
from typing import Any

from godwit.domain.events import Event
from godwit.domain.ids import AttemptId, JobId, NodeId
from godwit.domain.jobs import Attempt, AttemptState, Outcome, Slot
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.ledger.reading import KEPT, SAVED, Facts, Reader
from godwit.scheduler.ledger.stories import MACHINE
from godwit.scheduler.ledger.uses import Use

from tests.scheduler.fleets import node

NODE = replace(node("n1"), state=NodeState.READY)


def attempt(epoch: int, state: AttemptState, at: float, outcome: Outcome | None = None) -> Attempt:
    """A placement on the node."""
    slots = (Slot(NodeId("n1"), 0, tuple(range(8)), "127.0.0.9"),)
    return Attempt(AttemptId(f"a{epoch}"), JobId("j"), epoch, state, slots, 20_000, at, at, outcome)


def moved(subject: str, subject_id: str, at: float, old: str | None, new: str, **more: Any) -> Event:
    """A change of state."""
    return Event(at, f"{subject}.state", subject, subject_id, "", "", old, new, **more)


def story(events: list[Event], attempts: list[Attempt], of: Node = NODE, **health: Health) -> Any:
    """The node's story."""
    return Reader(Facts(events, attempts, health)).story(of)


def test_what_was_before_the_first_event_is_what_it_says_it_was() -> None:
    told = story([moved("node", "n1", 100.0, "joining", "ready"), moved("node", "n1", 200.0, "ready", "lost")], [])
    assert [told.states.at(at) for at in (-inf, 150.0, 250.0)] == [NodeState.JOINING, NodeState.READY, NodeState.LOST]
    assert story([], []).states.at(-inf) is NodeState.READY


def test_a_node_is_kept_until_its_job_starts_there() -> None:
    born = moved("attempt", "a1", 300.0, None, "starting", data={"kept": ["n1"]})
    told = story([born], [attempt(1, AttemptState.STARTING, 300.0)])
    assert (told.kept_for.at(0.0), told.kept_for.at(300.0)) == ("j", "")
    later = Event(100.0, KEPT, "node", "n1", "", "", job_id="k", node_id="n1", data={"was": "j"})
    kept = story([later], [], replace(NODE, reserved_for=JobId("k")))
    assert (kept.kept_for.at(0.0), kept.kept_for.at(200.0)) == ("j", "k")


def test_a_job_recovers_from_a_loss_until_a_successor_works() -> None:
    events = [
        moved("attempt", "a1", 100.0, "running", "stopping"),
        moved("attempt", "a1", 110.0, "stopping", "ended"),
        moved("attempt", "a2", 120.0, None, "starting"),
        moved("attempt", "a2", 180.0, "starting", "running"),
    ]
    lost = attempt(1, AttemptState.ENDED, 0.0, Outcome.INTERRUPTED)
    works = attempt(2, AttemptState.RUNNING, 120.0)
    assert story(events, [lost, works]).recovering == {"j": [(100.0, 180.0)]}
    told = story(events, [replace(lost, outcome=Outcome.PREEMPTED), works])
    assert told.recovering == {}, "who gives way was told first"


def test_programs_that_stand_still_to_save_are_told_by_their_checkpoints() -> None:
    saved = Event(150.0, SAVED, "job", "j", "", "", job_id="j", data={"epoch": 1, "stall_s": 4.0})
    (claim,) = story([saved], [attempt(1, AttemptState.RUNNING, 100.0)]).claims
    assert [claim.use(at) for at in (145.0, 147.0, 150.0)] == [Use.BUSY, Use.CHECKPOINTING, Use.BUSY]


def test_what_health_took_out_is_known_by_its_events_and_by_what_is_believed_now() -> None:
    gpu = str(NODE.gpus[2].uuid)
    mended = [moved("health", gpu, 100.0, "quarantined", "healthy")]
    assert [story(mended, []).unfit.at(at) for at in (0.0, 100.0)] == [frozenset({2}), frozenset()]
    assert story([], [], n1=Health.SUSPECT).unfit.at(0.0) == frozenset({MACHINE})
