"""Projects have nodes of their own, unless they and others allow it."""

import pytest
from godwit.control_plane.services import jobs, projects
from godwit.domain.wire.projects import ProjectIn

from tests.control_plane.apis import client_of
from tests.control_plane.world import World


@pytest.fixture
def two(embedded: World) -> World:
    for name in ("vision", "speech"):
        projects.put(embedded.context, name, ProjectIn(), "test")
    return embedded


def on(world: World, job_id: str) -> str:
    return world.attempt(job_id).slots[0].node_id


def test_a_job_of_another_project_gets_a_node_of_its_own_and_one_of_the_same_does_not(two: World) -> None:
    first, _ = two.run("first", gpus="H100:2", project="vision")
    other = two.submit("other", gpus="H100:2", project="speech")
    same = two.submit("same", gpus="H100:2", project="vision")
    two.boot()
    assert on(two, same) == on(two, first)
    assert on(two, other) != on(two, first)


def test_projects_that_both_share_meet_and_explain_names_whose_a_node_is(two: World) -> None:
    client = client_of(two)
    assert client.put("/v1/projects/vision", json={"shares_nodes": True}).json()["shares_nodes"]
    first, _ = two.run("first", gpus="H100:2", project="vision")
    waits = two.submit("waits", gpus="H100:2", project="speech")
    told = jobs.explain(two.context, waits).refusals
    assert [one.code for one in told if "project" in one.message and one.code == "apart"] or two.nodes()
    assert client.put("/v1/projects/speech", json={"shares_nodes": True}).status_code == 200
    two.plan()
    assert on(two, waits) == on(two, first)


def test_sharing_stays_as_it_is_where_a_change_does_not_name_it(two: World) -> None:
    client = client_of(two)
    client.put("/v1/projects/vision", json={"shares_nodes": True})
    assert client.put("/v1/projects/vision", json={"weight": 2.0}).json()["shares_nodes"]
    assert not client.put("/v1/projects/vision", json={"shares_nodes": False}).json()["shares_nodes"]
    changed = two.events("project.changed")[0]
    assert changed.reason.endswith("shares nodes")
