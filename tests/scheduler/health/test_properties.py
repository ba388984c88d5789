"""What holds of every course of events: rest, the breaker's cap, no work on what is out, and no order that matters."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.domain.health import Finding, Grade, Remedy
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import JobState
from godwit.domain.nodes import Health, NodeState
from godwit.scheduler import planner
from godwit.scheduler.health import breaker
from godwit.scheduler.plan import (
    Action,
    CordonNode,
    Evict,
    MarkHealth,
    RepairNode,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.snapshot import Policy, Snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health.care import Care, finding

APPLICATION = ("xid:13", "xid:31", "xid:43", "xid:45", "xid:68", "xid:69", "oom:killed", "segfault:libnccl")
HARDWARE = ("xid:48", "xid:63", "xid:64", "xid:74", "xid:79", "xid:94", "xid:95", "xid:119", "xid:157", "sxid:20034")
JOBS = ("hang", "straggler", "loss", "crash")
FLEET = 12


@dataclass
class Course(Care):
    """A course of events, with what must hold of each action."""

    answers: random.Random = field(default_factory=lambda: random.Random(0))

    def _apply(self, action: Action) -> None:
        if isinstance(action, StartAttempt):
            for slot in action.slots:
                there = self.node(slot.node_id)
                assert there.state is NodeState.READY
                assert all(gpu.health is Health.HEALTHY for gpu in there.gpus if gpu.index in slot.gpus)
        if isinstance(action, RepairNode):
            self._assert_nothing_runs(action)
        super()._apply(action)

    def _assert_nothing_runs(self, action: RepairNode) -> None:
        there = self.node(action.node_id)
        touched = {gpu.index for gpu in there.gpus if not action.gpus or gpu.uuid in action.gpus}
        for one in self.snapshot.attempts:
            for slot in one.slots:
                assert slot.released or slot.node_id != there.id or not touched & set(slot.gpus), "it still runs"


def fleet(jobs: int) -> Snapshot:
    """Twelve nodes in three fabric domains of two providers; each job has two nodes, and the rest is idle."""
    places = [("lambda", "f1"), ("lambda", "f2"), ("crusoe", "f3")]
    nodes = [
        node(f"n{number:02}", offer(provider=provider, fabric_domain=domain))
        for number in range(FLEET)
        for provider, domain in [places[number % 3]]
    ]
    running = [job(f"j{number}", nodes=2, state=JobState.RUNNING, epoch=1) for number in range(jobs)]
    pairs = [(0, 3), (6, 9), (1, 4)]
    held = [attempt(one, *(nodes[place] for place in pair)) for one, pair in zip(running, pairs, strict=False)]
    return world(nodes=nodes, jobs=running, attempts=held, policy=Policy(idle_after_s=1e9))


def heard(course: Care, name: str, place: int, code: str) -> Finding:
    """A finding of a node, with the job that holds it, as the control plane fills it in."""
    where = f"n{place:02}"
    there = next((a for a in course.snapshot.attempts if any(s.node_id == where for s in a.slots)), None)
    check = code if code in JOBS else code.split(":", maxsplit=1)[0]
    gpu = None if code in JOBS or code.startswith("sxid") else place % 8
    return finding(
        name, where, "" if code in JOBS else code, gpu, course.now, check, evidence={"odd": place % 2, "windows": 3},
        attempt_id=None if there is None or code not in JOBS else there.id,
        job_id=None if there is None else there.job_id,
        grade=Grade.DEGRADED if code in APPLICATION else Grade.UNHEALTHY,
    )  # fmt: skip


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("found"), st.integers(0, FLEET - 1), st.sampled_from(APPLICATION + HARDWARE + JOBS)),
        st.tuples(st.just("pass"), st.sampled_from([0, 5, 100, 700, 2_000, 90_000]), st.just("")),
        st.tuples(st.just("answer"), st.integers(0, 3), st.sampled_from(["yes", "no"])),
        st.tuples(st.just("reset"), st.just(0), st.just("")),
    ),
    max_size=14,
)


def live(course: Course, events: list[tuple[str, int, str]], after: Callable[[], None] = lambda: None) -> None:
    """Let it all happen, coming to rest after each."""
    for number, (what, amount, word) in enumerate(events):
        if what == "found" and NodeId(f"n{amount:02}") in course.snapshot.node_by_id:
            course.hear(heard(course, str(number), amount, word))
        elif what == "pass":
            course.pass_s(amount)
        elif what == "answer":
            course.answer_oldest(passed=word == "yes")
        elif what == "reset":
            course.reset_breaker()
        course.rest()
        after()


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 3))
def test_whatever_happens_it_comes_to_rest_and_no_work_starts_on_what_is_out(
    events: list[tuple[str, int, str]], jobs: int
) -> None:
    live(Course(fleet(jobs), NOW, works=lambda _order: None, passes=lambda _order: None), events)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, FLEET - 1), st.sampled_from(HARDWARE), st.sampled_from([0, 1, 20, 400])), max_size=24
    )
)
def test_no_burst_takes_more_than_the_cap_within_a_window(burst: list[tuple[int, str, int]]) -> None:
    course = Course(fleet(2), NOW)
    for number, (place, code, pause_s) in enumerate(burst):
        course.pass_s(pause_s)
        if NodeId(f"n{place:02}") in course.snapshot.node_by_id:
            course.hear(heard(course, str(number), place, code))
        course.rest()
    policy = course.snapshot.policy.health
    most = breaker.cap(policy.breaker_share, FLEET)
    for end, _ in course.taken:
        within = {where for at, where in course.taken if end - policy.breaker_window_s < at <= end}
        for place in range(3):  # domains of four nodes, of which one may always go
            assert sum(int(where.removeprefix("n")) % 3 == place for where in within) <= 1
        assert len(within) <= most


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, FLEET - 1), st.sampled_from(APPLICATION), st.integers(0, 9)), max_size=20))
def test_application_faults_of_one_program_evict_nobody(faults: list[tuple[int, str, int]]) -> None:
    course = Course(fleet(1), NOW)
    for number, (place, code, pause_s) in enumerate(faults):
        course.pass_s(pause_s * 1_000)
        course.hear(replace(heard(course, str(number), place, code), job_id=JobId("j0")))
        course.rest()
    assert not [one for one in course.told if isinstance(one, Evict | CordonNode | MarkHealth | TerminateNode)]


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_listed_changes_nothing(
    events: list[tuple[str, int, str]], shuffler: random.Random
) -> None:
    course = Course(fleet(2), NOW, works=lambda _order: None)

    def same() -> None:
        view = course.view
        mixed: dict[str, Any] = {
            name: tuple(shuffler.sample(getattr(view, name), len(getattr(view, name))))
            for name in ("findings", "incidents", "past", "orders", "cordons")
        }
        other = replace(course.snapshot, health=replace(view, **mixed))
        assert planner.plan(other, course.now, 1).actions == course.plan().actions

    for number, (what, amount, word) in enumerate(events):
        if what == "found" and NodeId(f"n{amount:02}") in course.snapshot.node_by_id:
            course.hear(heard(course, str(number), amount, word))
            same()
        elif what == "pass":
            course.pass_s(amount)
        course.rest()


def test_every_remedy_leads_to_an_end() -> None:
    for remedy in Remedy:
        course = Course(fleet(1), NOW, passes=lambda _order: False)
        course.hear(finding("1", "n00", "some:thing", 0, NOW, "host", suggested=remedy))
        for _ in range(4):
            course.rest()
            course.pass_s(90_000)
        assert not course.view.incidents, remedy
