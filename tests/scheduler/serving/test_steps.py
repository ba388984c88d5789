"""Services over random histories: enough replicas stay that take requests, and in the end all is as it should be."""

from dataclasses import replace

from godwit.domain.ids import AttemptId, JobId, ProjectId, ServiceId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobKind, JobSpec, JobState
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState, Version
from godwit.domain.serving import Change, Serving, Strategy
from godwit.scheduler.serving import counts, restarts, rollout, steps
from godwit.scheduler.serving.actions import AddReplica, ChangeService, MoveReplica, StopReplica
from godwit.scheduler.serving.view import View
from hypothesis import given
from hypothesis import strategies as st

ALIVE = {ReplicaState.STARTING, ReplicaState.READY}


def spec(count: int, strategy: Strategy = Strategy.ROLLING) -> JobSpec:
    change = Change(strategy, (0.25, 0.5), bake_s=5.0, ready_within_s=1e6)
    return JobSpec("chat", "serve", JobKind.SERVICE, serving=Serving(count, count, drain_s=3.0, change=change))


class World:
    """One service whose decisions are carried out on paper; what happens out there is up to the test."""

    def __init__(self, count: int, strategy: Strategy = Strategy.ROLLING) -> None:
        self.now = 0.0
        self.service = Service(
            ServiceId("s"), ProjectId("default"), "chat", ServiceState.SERVING, 0.0, 0.0, count,
            (Version(1, spec(count, strategy), 0.0),),
        )  # fmt: skip
        self.replicas: dict[str, Replica] = {}
        self.jobs: dict[JobId, Job] = {}

    def view(self) -> View:
        there = tuple(one for one in self.replicas.values() if one.state is not ReplicaState.GONE)
        gone = tuple(one for one in reversed(self.replicas.values()) if one.state is ReplicaState.GONE)
        attempts = {
            one.id: Attempt(AttemptId(f"a-{one.id}"), one.id, 1, AttemptState.RUNNING, (), 0, 0.0, 0.0) for one in there
        }
        return View(self.service, there, gone, self.jobs, attempts)

    def ready(self) -> int:
        return sum(one.state is ReplicaState.READY for one in self.replicas.values())

    def settle(self) -> None:
        """Decide and carry out until nothing is decided; what takes requests never gets too little by that."""
        for _ in range(200):
            decided = steps.decide(self.view(), self.now)
            if not decided:
                return
            for action in decided:
                before = self.ready()
                self.carry_out(action)
                is_choice = not (isinstance(action, MoveReplica) and action.to is not ReplicaState.DRAINING)
                assert not is_choice or self.ready() >= min(before, self.service.replicas), action
        raise AssertionError("it does not come to rest")

    def carry_out(self, action: object) -> None:
        match action:
            case AddReplica():
                number = self.service.next_ordinal
                self.service = replace(self.service, next_ordinal=number + 1)
                job_id = JobId(f"chat-{number:03}")
                self.jobs[job_id] = Job(job_id, self.service.project, spec(1), JobState.RUNNING, self.now, self.now)
                self.replicas[job_id] = Replica(
                    job_id, self.service.id, job_id, action.number, number, ReplicaState.STARTING, self.now, self.now
                )
            case MoveReplica():
                self.move(action.replica_id, action.to)
            case StopReplica():
                self.end(action.replica_id, JobState.CANCELLED)
            case ChangeService():
                self.service = action.after

    def move(self, replica_id: str, to: ReplicaState, **more: object) -> None:
        self.replicas[replica_id] = replace(self.replicas[replica_id], state=to, state_since=self.now, **more)  # type: ignore[arg-type]

    def end(self, replica_id: str, to: JobState) -> None:
        self.jobs[JobId(replica_id)] = replace(self.jobs[JobId(replica_id)], state=to)

    def starting(self) -> list[str]:
        return [name for name, one in self.replicas.items() if one.state is ReplicaState.STARTING]

    def answer(self, name: str) -> None:
        """A replica takes requests."""
        self.move(name, ReplicaState.READY, attempt_id=AttemptId(f"a-{name}"), ready_at=self.now)

    def run(self, turns: int = 60) -> None:
        """Nothing goes wrong for a while."""
        for _ in range(turns):
            self.settle()
            for name in self.starting():
                self.answer(name)
            self.now += 10.0
        self.settle()

    def update(self) -> None:
        """Its owner wants a new version."""
        newest = self.service.newest
        versions = (*self.service.versions, Version(newest.number + 1, newest.spec, self.now))
        self.service = rollout.begun(replace(self.service, versions=versions), self.now)


MISHAPS = st.lists(st.sampled_from(["answer", "silent", "fail", "update", "scale", "wait"]), max_size=40)


@given(count=st.integers(0, 5), strategy=st.sampled_from(Strategy), mishaps=MISHAPS, data=st.data())
def test_whatever_happens_enough_stay_ready_and_it_ends_as_wanted(
    count: int, strategy: Strategy, mishaps: list[str], data: st.DataObject
) -> None:
    world = World(count, strategy)
    for mishap in mishaps:
        world.settle()
        alive = [name for name, one in world.replicas.items() if one.state in ALIVE]
        chosen = data.draw(st.sampled_from(alive)) if alive else None
        if mishap == "answer":
            for name in world.starting():
                world.answer(name)
        elif mishap == "update":
            world.update()
        elif mishap == "scale":
            world.service = replace(world.service, replicas=data.draw(st.integers(0, 5)))
            size = world.service.replicas
            newest = replace(world.service.newest, spec=spec(size, strategy))
            world.service = replace(world.service, versions=(*world.service.versions[:-1], newest))
        elif chosen is not None and mishap == "silent":
            world.move(chosen, ReplicaState.STARTING)
        elif chosen is not None and mishap == "fail":
            world.end(chosen, JobState.FAILED)
        world.now += data.draw(st.floats(0.1, 20.0))
    world.run()
    service = world.service
    assert service.rollout is None
    states = [(one.state, one.number) for one in world.replicas.values() if one.state is not ReplicaState.GONE]
    assert states == [(ReplicaState.READY, service.newest.number)] * service.replicas


@given(count=st.integers(1, 5), strategy=st.sampled_from(Strategy))
def test_a_version_that_never_gets_ready_is_taken_back_and_the_old_one_serves_on(
    count: int, strategy: Strategy
) -> None:
    world = World(count, strategy)
    world.run(5)
    world.update()
    for _ in range(100):
        world.settle()
        assert world.ready() >= count
        for name in world.starting():
            if world.replicas[name].number == 2:
                world.end(name, JobState.FAILED)
            else:
                world.answer(name)
        world.now += 100.0
    assert (world.service.newest.number, world.service.rollout) == (1, None)


@given(ready=st.dictionaries(st.integers(1, 3), st.integers(0, 4)), step=st.integers(0, 3), back=st.booleans())
def test_shares_are_parts_of_one_and_nobody_waits_for_a_version_that_is_not_ready(
    ready: dict[int, int], step: int, back: bool
) -> None:
    world = World(3, Strategy.CANARY)
    world.update()
    change = world.service.rollout
    assert change is not None
    service = replace(world.service, rollout=replace(change, step=step, backwards="bad" if back else ""))
    shares = counts.shares(service, ready)
    assert all(0 <= share <= 1 for share in shares.values())
    if any(ready.get(number) for number in (1, 2)):
        assert all(share == 0 or ready.get(number) for number, share in shares.items())


@given(failed=st.integers(0, 60))
def test_restarts_wait_longer_each_time_and_never_without_end(failed: int) -> None:
    assert restarts.pause_s(failed) <= restarts.pause_s(failed + 1) <= restarts.LONGEST_PAUSE_S
