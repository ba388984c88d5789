"""Where a job starts again that was interrupted: where it stood, if that is as good as any other place."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from godwit.domain.health import Grade
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Fabric, Job, JobState
from godwit.domain.nodes import Node
from godwit.scheduler import planner
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import StartAttempt
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health.care import finding


def again(nodes: int = 1, fabric: Fabric = Fabric.ANY) -> Job:
    return job("a", nodes=nodes, state=JobState.RECOVERING, fabric=fabric)


def fleet(count: int) -> list[Node]:
    return [node(f"n{number}") for number in range(1, count + 1)]


def stood(snapshot: Snapshot, on: Iterable[str]) -> Snapshot:
    return replace(snapshot, stood_on={JobId("a"): tuple(NodeId(one) for one in on)})


def places(snapshot: Snapshot) -> dict[str, set[str]]:
    made = planner.plan(snapshot, NOW, seed=1)
    return {one.job_id: {slot.node_id for slot in one.slots} for one in made.actions if isinstance(one, StartAttempt)}


@pytest.mark.parametrize("before", [("n1", "n3"), ("n2", "n4"), ("n3", "n4")])
def test_a_job_starts_again_where_it_stood(before: tuple[str, str]) -> None:
    assert places(stood(world(jobs=[again(2)], nodes=fleet(4)), before)) == {"a": {*before}}


def test_where_a_job_stood_is_kept_from_nobody() -> None:
    asked = world(jobs=[again(2), job("small")], nodes=fleet(1))
    assert places(asked) == places(stood(asked, ["n1", "gone"])) == {"small": {"n1"}}


def test_what_is_gone_or_taken_is_made_up_for() -> None:
    other, nodes = job("b", state=JobState.RUNNING), fleet(4)
    asked = world(jobs=[again(2), other], nodes=nodes, attempts=[attempt(other, nodes[0])])
    found = places(stood(asked, ["n1", "gone", "n4"]))["a"]
    assert "n4" in found
    assert found < {"n2", "n3", "n4"}


def test_a_gang_stays_together_though_a_part_of_where_it_stood_is_free_elsewhere() -> None:
    apart = [*fleet(2), node("n3", offer(fabric_domain="f2"))]
    assert places(stood(world(jobs=[again(2)], nodes=apart), ["n2", "n3"])) == {"a": {"n1", "n2"}}


def test_a_job_does_not_start_again_on_a_node_that_heat_slows_down() -> None:
    hot = finding("1", "n2", "temperature:slowdown", at=NOW - 60, grade=Grade.DEGRADED, decided=True)
    doubted = HealthView(findings=(hot,))
    for nodes, before in ((1, ["n2"]), (2, ["n1", "n2"])):
        asked = stood(world(jobs=[again(nodes)], nodes=fleet(3)), before)
        assert places(asked)["a"] >= {*before}
        assert "n2" not in places(replace(asked, health=doubted))["a"]
