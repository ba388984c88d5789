"""Deadlines and budgets: answered when a job is planned and submitted, as a warning or, if strict, as a refusal."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.services import jobs
from godwit.control_plane.store import schema
from godwit.domain import times
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.arrays import FeasibilityView

from tests.control_plane.apis import client_of
from tests.control_plane.test_run_times import run
from tests.control_plane.world import World, spec

pytestmark = pytest.mark.embedded


def feasibility(world: World, **fields: Any) -> FeasibilityView | None:
    world.read_offers()
    return jobs.preview(world.context, world.shelf, spec(**fields)).feasibility


def test_a_job_without_limits_is_asked_nothing(world: World) -> None:
    assert feasibility(world, run_time="6h") is None


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"deadline": "+48h", "budget_usd": 1_000}, "yes"),
        ({"deadline": "+8h"}, "likely"),
        ({"budget_usd": 200}, "likely"),
        ({"deadline": "+3h"}, "no"),
        ({"budget_usd": 60}, "no"),
    ],
)
def test_the_answer_is_by_what_is_sold_and_how_long_it_is_thought_to_run(
    embedded: World, limits: dict[str, Any], verdict: str
) -> None:
    found = feasibility(embedded, run_time="6h", **limits)
    assert found is not None
    assert found.verdict == verdict, found.answer
    assert (found.short_by > 0.3) == (verdict == "no")


def test_a_no_names_the_gap_and_what_would_do(world: World) -> None:
    found = feasibility(world, run_time="10h", deadline="+24h", budget_usd=100)
    assert found is not None
    assert "under $100: 5" in found.answer
    assert "% short; cheapest that is in time: 1 x cheap/north" in found.answer


def test_nobody_can_say_of_a_job_whose_run_time_nobody_knows(world: World) -> None:
    found = feasibility(world, deadline="+24h")
    assert found is not None
    assert found.verdict == "unknown"


def test_earlier_jobs_of_its_name_say_how_long_it_runs(world: World) -> None:
    run(world, 7_200.0)
    found = feasibility(world, deadline="+1h")
    assert found is not None
    assert found.verdict == "no"


def test_machines_where_it_may_not_run_are_not_counted_on(world: World) -> None:
    found = feasibility(world, run_time="6h", budget_usd=220, resources={"infra": ["dear"]})
    assert found is not None
    assert (found.verdict, "dear/south" in found.answer) == ("likely", True)


def test_free_nodes_of_the_fleet_are_a_way_without_a_boot(world: World) -> None:
    run(world, 60.0)
    found = feasibility(world, name="other", run_time="1h", deadline="+62m")
    assert found is not None
    assert (found.verdict, "nodes of the fleet" in found.answer) == ("likely", True)


def test_a_job_that_cannot_keep_to_its_limits_is_taken_with_a_warning_in_its_story(world: World) -> None:
    world.read_offers()
    job_id = world.submit(run_time="6h", deadline="+3h")
    (told,) = world.events("job.feasibility")
    assert told.job_id == job_id
    assert told.reason.startswith("cannot finish by ")
    assert told.data["verdict"] == "no"
    assert world.job(job_id).spec.deadline_at == pytest.approx(world.clock.now() + 3 * 3_600)


def test_whoever_wants_it_strict_is_refused_with_the_same_words(world: World) -> None:
    world.read_offers()
    late, dear = spec(run_time="6h", deadline="+3h"), spec(run_time="6h", budget_usd=60)
    for wanted, path in ((late, "deadline"), (dear, "budget_usd")):
        with pytest.raises(InvalidRequest, match="cannot finish") as refused:
            jobs.submit(world.context, world.shelf, wanted, None, "token t", is_strict=True)
        assert refused.value.problems[0].path == (path,)
    assert world.rows(schema.jobs) == 0


def test_limits_are_carried_from_the_request_to_the_views(world: World) -> None:
    world.read_offers()
    client: TestClient = client_of(world)
    watched = {"preflight": "always", "hang_after": "10m"}
    body = spec(run_time="90m", deadline="+48h", budget_usd=400, preemptible=False, priority=-7).model_dump(
        exclude_defaults=True
    )
    body |= watched
    job = client.post("/v1/jobs?strict=true", json=body).json()
    due = world.clock.now() + 48 * 3_600
    assert (job["deadline_at"], job["budget_usd"], job["priority"]) == (due, 400.0, -7)
    shown = client.get(f"/v1/jobs/{job['id']}").json()["spec"]
    assert {key: shown[key] for key in ("run_time", "deadline", "budget_usd", "preemptible", "priority")} == {
        "run_time": "90m", "deadline": times.instant_text(due), "budget_usd": 400.0, "preemptible": False,
        "priority": -7,
    }  # fmt: skip
    assert {key: shown[key] for key in watched} == watched
    (listed,) = client.get("/v1/jobs").json()["items"]
    assert (listed["deadline_at"], listed["budget_usd"]) == (due, 400.0)
