"""What people do with projects: set quotas that are checked, see what is used, and never lose a job to a slip."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.control_plane.apis import client_of
from tests.control_plane.world import World, spec

VISION = {"limits": {"H100": {"nominal": 16}}, "cohort": "research"}


def put(client: TestClient, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = client.put(f"/v1/projects/{name}", json=body or {})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def limits_of(client: TestClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/projects/{name}").json()["limits"]
    return found


def problem_of(client: TestClient, name: str, body: dict[str, Any]) -> tuple[list[Any], str, str | None]:
    answer = client.put(f"/v1/projects/{name}", json=body)
    assert answer.status_code == 422
    first = answer.json()["problems"][0]
    return first["path"], first["message"], first["did_you_mean"]


def test_the_default_project_is_there_from_the_start_without_a_quota_and_stays(world: World) -> None:
    client = client_of(world)
    (only,) = client.get("/v1/projects").json()["items"]
    assert (only["name"], only["limits"], only["running"], only["waiting"]) == ("default", {}, 0, 0)
    assert client.delete("/v1/projects/default").status_code == 409


def test_a_project_is_made_changed_and_removed_and_each_of_it_is_told(world: World) -> None:
    client = client_of(world)
    assert put(client, "vision", VISION)["version"] == 1
    changed = put(client, "vision", {"limits": {"h100": {"nominal": 8, "borrow": 4, "lend": 2}}, "cohort": "research"})
    assert changed["limits"]["H100"] == {
        "nominal": 8, "borrow": 4, "lend": 2, "used": 0.0, "borrowed": 0.0, "lent": 0.0
    }  # fmt: skip
    assert client.delete("/v1/projects/vision").status_code == 204
    assert client.get("/v1/projects/vision").status_code == 404
    told = [(e.kind, e.subject_id, e.actor) for e in world.events() if e.subject == "project"]
    assert told == [(f"project.{what}", "vision", "token token-test") for what in ("added", "changed", "removed")]


def test_the_same_again_changes_nothing_and_is_not_told(world: World) -> None:
    client = client_of(world)
    assert put(client, "vision", VISION) == put(client, "vision", VISION)
    assert len(world.events("project.changed")) == 0


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(world: World) -> None:
    client = client_of(world)
    put(client, "vision", VISION)
    put(client, "vision", VISION | {"weight": 2.0})
    answer = client.put("/v1/projects/vision", json=VISION | {"version": 1})
    assert answer.status_code == 409
    assert "read it again" in answer.json()["detail"]
    assert client.put("/v1/projects/other", json={"version": 1}).status_code == 409


@pytest.mark.parametrize(
    ("body", "path", "says", "meant"),
    [
        ({"limits": {"H10": {"nominal": 1}}}, ["limits", "H10"], "no resource is called 'H10'", "H100"),
        ({"limits": {"H100": {"nominal": -1}}}, ["limits", "H100", "nominal"], "greater than or equal to 0", None),
        ({"limits": {"H100": {"nominal": 1.5}}}, ["limits", "H100", "nominal"], "valid integer", None),
        ({"limits": {"H100": {"nominal": 10**9}}}, ["limits", "H100", "nominal"], "less than or equal", None),
        ({"limits": {"H100": {"nominal": 1}, "h100": {"nominal": 2}}}, ["limits", "h100"], "two limits", None),
        ({"limits": {"any": {"nominal": 1, "borrow": 2}}}, ["cohort"], "in none", None),
        (
            {"cohort": "c", "limits": {"any": {"nominal": 1, "lend": 2}}},
            ["limits", "any", "lend"],
            "more than its own",
            None,
        ),
        ({"weight": 0}, ["weight"], "greater than or equal to 0.001", None),
        ({"quota": {}}, ["quota"], "Extra inputs", None),
    ],
)
def test_a_wrong_quota_is_refused_with_the_place_and_what_is_meant(
    world: World, body: dict[str, Any], path: list[Any], says: str, meant: str | None
) -> None:
    where, message, guess = problem_of(client_of(world), "vision", body)
    assert (where, guess) == (path, meant)
    assert says in message


def test_a_job_of_an_unknown_project_is_refused_with_the_one_that_is_meant(world: World) -> None:
    client = client_of(world)
    put(client, "vision", VISION)
    for path in ("/v1/jobs", "/v1/plans"):
        answer = client.post(path, json=spec(project="visoin").model_dump(mode="json"))
        assert answer.status_code == 422
        assert answer.json()["problems"][0]["did_you_mean"] == "vision"


def test_a_project_shows_what_its_jobs_hold_and_cannot_be_removed_meanwhile(world: World) -> None:
    client = client_of(world)
    put(client, "vision", VISION)
    world.run(project="vision")
    shown = client.get("/v1/projects/vision").json()
    assert (shown["running"], shown["limits"]["H100"]["used"]) == (1, 8.0)
    answer = client.delete("/v1/projects/vision")
    assert answer.status_code == 409
    assert "has 1 jobs that are not over" in answer.json()["detail"]


def test_what_is_bought_for_a_waiting_job_counts_before_it_is_there(world: World) -> None:
    client = client_of(world)
    put(client, "vision", VISION)
    world.submit("first", project="vision")
    world.plan_only()
    assert limits_of(client, "vision")["H100"]["used"] == 8.0
    world.submit("second", project="vision")
    world.submit("third", project="vision")
    world.plan()
    assert len(world.nodes()) == 2, "the third would be above the quota"
    assert limits_of(client, "vision")["H100"]["used"] == 16.0


def test_nothing_is_bought_for_what_the_quota_refuses_and_everybody_is_told_why(world: World) -> None:
    client = client_of(world)
    put(client, "vision", {"limits": {"H100": {"nominal": 8}}})
    world.run(project="vision")
    second = world.submit("second", project="vision")
    world.turn()
    assert len(world.nodes()) == 1
    told = client.get(f"/v1/jobs/{second}/explain").json()["refusals"][0]
    assert (told["code"], told["subject"]) == ("quota", "project vision")
    assert told["message"].startswith("holds 8 of 8 H100, may borrow 0, and this job asks 8")
    assert told["would_help"] == "wait until 8 come free, or `godwit quota set vision --gpus H100=16`"
    dry = client.post("/v1/plans", json=spec("third", project="vision").model_dump(mode="json")).json()
    assert (dry["feasible"], dry["refusals"][0]["code"]) == (False, "quota")


def test_a_larger_quota_lets_the_job_start(world: World) -> None:
    client = client_of(world)
    put(client, "vision", {"limits": {"H100": {"nominal": 0}}})
    job_id = world.submit(project="vision")
    world.turn()
    assert world.nodes() == []
    put(client, "vision", {"limits": {"H100": {"nominal": 8}}})
    for agent in world.boot():
        agent.take_on()
    assert world.job(job_id).state == "running"


def test_a_cohort_lends_what_it_does_not_use_and_shows_who_lends_how_much(world: World) -> None:
    client = client_of(world)
    put(client, "vision", {"limits": {"H100": {"nominal": 8}}, "cohort": "research"})
    put(client, "speech", {"limits": {"H100": {"nominal": 16, "lend": 8}}, "cohort": "research"})
    world.run("first", project="vision")
    world.run("second", project="vision")
    assert limits_of(client, "vision")["H100"] == {
        "nominal": 8, "borrow": None, "lend": None, "used": 16.0, "borrowed": 8.0, "lent": 0.0
    }  # fmt: skip
    assert limits_of(client, "speech")["H100"]["lent"] == 8.0
    third = world.submit("third", project="vision")
    world.turn()
    told = client.get(f"/v1/jobs/{third}/explain").json()["refusals"][0]
    assert "cohort research has 0 free for it" in told["message"]


def test_projects_are_read_in_pages_by_name(world: World) -> None:
    client = client_of(world)
    for name in ("b", "a", "c"):
        put(client, name)
    first = client.get("/v1/projects?limit=2").json()
    rest = client.get(f"/v1/projects?limit=10&cursor={first['next_cursor']}").json()
    assert [item["name"] for item in (*first["items"], *rest["items"])] == ["a", "b", "c", "default"]
