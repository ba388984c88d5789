"""What Prometheus is shown of a control plane: who may read it, what stands in it, and that it stays small."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.metrics import described
from godwit.control_plane.metrics.instruments import Instruments
from godwit.control_plane.store import figures, schema
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from tests.control_plane.apis import BEARER, accounts_of, app_of, client_of
from tests.control_plane.world import World

Shown = dict[tuple[str, frozenset[tuple[str, str]]], float]


def shown(client: TestClient) -> Shown:
    """Every sample by its name and labels, read with Prometheus' own grammar."""
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Shown, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def names(found: Shown) -> set[str]:
    return {name for name, _ in found}


def test_metrics_want_a_token_unless_the_settings_open_them(embedded: World) -> None:
    app_of(embedded)
    parts = (embedded.context, embedded.shelf, embedded.logs, accounts_of(embedded), dict)
    assert TestClient(create_app(State(*parts))).get("/metrics").status_code == 401
    assert TestClient(create_app(State(*parts))).get("/metrics", headers=BEARER).status_code == 200
    assert TestClient(create_app(State(*parts, open_metrics=True))).get("/metrics").status_code == 200


def test_the_fleet_and_the_queue_are_told_in_numbers(world: World) -> None:
    client = client_of(world)
    world.run()
    world.submit("waits", nodes=9)
    world.clock.advance(40.0)
    found = shown(client)
    assert value(found, "godwit_nodes", provider="cheap", state="ready") == 1
    assert value(found, "godwit_gpus", provider="cheap", model="H100-SXM", use="held") == 8
    assert value(found, "godwit_nodes_usd_per_hour", provider="cheap", spot="false") == pytest.approx(20.0)
    assert value(found, "godwit_jobs", kind="train", state="running") == 1
    assert value(found, "godwit_queue_jobs", project="default") == 1
    assert value(found, "godwit_queue_oldest_wait_seconds", project="default") == pytest.approx(40.0, abs=5.0)
    assert value(found, "godwit_node_heartbeat_age_seconds_max", provider="cheap") >= 40.0
    assert value(found, "godwit_leases", state="expired") + value(found, "godwit_leases", state="valid") == 1
    assert value(found, "godwit_intents_pending", kind="launch-node") == 0
    assert value(found, "godwit_breaker_tripped") == 0


def test_owed_intents_grow_old_until_they_are_carried_out(embedded: World) -> None:
    client = client_of(embedded)
    embedded.submit()
    embedded.plan_only()
    embedded.clock.advance(90.0)
    found = shown(client)
    assert value(found, "godwit_intents_pending", kind="launch-node") == 1
    assert value(found, "godwit_intents_oldest_age_seconds", kind="launch-node") == pytest.approx(90.0, abs=1.0)
    assert value(found, "godwit_gpus", provider="cheap", model="H100-SXM", use="coming") == 8
    age_s = value(found, "godwit_node_state_age_seconds_max", provider="cheap", state="requested")
    assert age_s == pytest.approx(90.0, abs=1.0)


def test_events_and_ends_of_intents_are_counted_from_where_the_process_began(embedded: World) -> None:
    embedded.submit("earlier")
    client = client_of(embedded)
    exposition = client.app.state.godwit.exposition  # type: ignore[attr-defined]
    exposition.text()
    embedded.run("digits")
    exposition._shown = (-1e9, b"")
    found = shown(client)
    assert value(found, "godwit_events_total", kind="job.state", state="running") >= 1
    assert value(found, "godwit_intents_ended_total", kind="launch-node", state="done") >= 1
    assert value(found, "godwit_plan_actions_total", action="StartAttempt") >= 1
    assert value(found, "godwit_plan_phase_duration_seconds_count", phase="decide") >= 1


def test_requests_are_counted_by_the_template_of_their_route(embedded: World) -> None:
    client = client_of(embedded)
    for path in ("/v1/jobs/one", "/v1/jobs/two", "/made/up/1", "/made/up/2"):
        client.get(path)
    found = shown(client)
    assert value(found, "godwit_api_requests_total", route="/v1/jobs/{job}", method="GET", code="404") == 2
    assert value(found, "godwit_api_requests_total", route="unmatched", method="GET", code="404") == 2
    assert value(found, "godwit_api_request_duration_seconds_count", route="/v1/jobs/{job}", method="GET") == 2


def test_a_crash_counts_as_a_500(embedded: World) -> None:
    app = app_of(embedded)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError

    client = TestClient(app, raise_server_exceptions=False, headers=BEARER)
    client.get("/crash")
    assert value(shown(client), "godwit_api_requests_total", route="/crash", method="GET", code="500") == 1


def test_a_strangers_method_makes_no_label(embedded: World) -> None:
    client = client_of(embedded)
    client.request("BREW", "/v1/jobs")
    assert {dict(labels).get("method") for _, labels in shown(client)} <= {None, "GET", "other"}


def test_everything_that_is_shown_is_described_and_every_label_is_bounded(embedded: World) -> None:
    client = client_of(embedded)
    embedded.run()
    known = {of.name: of for of in described.METRICS}
    for name, labels in shown(client):
        family = next((known[n] for n in (name, *_stems(name)) if n in known), None)
        assert family is not None, f"{name} is not in metrics/described.py"
        assert {label for label, _ in labels} - {"le"} == set(family.labels), name
    assert {label for of in described.METRICS for label in of.labels} == set(described.BOUNDS)


def _stems(name: str) -> list[str]:
    return [name.removesuffix(end) for end in ("_bucket", "_count", "_sum", "_created") if name.endswith(end)]


def test_names_follow_the_conventions_of_prometheus() -> None:
    for of in described.METRICS:
        assert of.name.startswith("godwit_")
        assert of.name.endswith("_total") == (of.kind == "counter"), of.name
        assert not of.name.endswith(("_ms", "_s", "_minutes", "_gib", "_percent")), of.name
        assert of.help.endswith("."), of.name
        assert not {"job_id", "node_id", "user", "token", "id"} & set(of.labels), of.name


def test_of_many_projects_the_shortest_queues_are_told_together(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PROJECTS_MAX", 1)
    for project, jobs in (("a", 1), ("b", 2), ("c", 1)):
        for number in range(jobs):
            job_id = embedded.submit(f"{project}-{number}")
            with embedded.db.write() as tx:
                tx.conn.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(project=project))
    with embedded.db.read() as conn:
        found = [(project, count) for project, count, _ in figures.queue(conn)]
    assert found == [("b", 2), (figures.OTHER, 2)]


def test_a_step_that_fails_is_counted_and_does_not_count_as_seen() -> None:
    instruments = Instruments()
    with pytest.raises(ValueError, match="again"), instruments.step("planner"):
        raise ValueError("again")
    sample = instruments.registry.get_sample_value
    assert sample("godwit_loop_failures_total", {"loop": "planner"}) == 1
    assert sample("godwit_loop_last_step_timestamp_seconds", {"loop": "planner"}) is None
    with instruments.step("planner"):
        pass
    assert (sample("godwit_loop_last_step_timestamp_seconds", {"loop": "planner"}) or 0) > 1e9
    instruments.ended("planner")
    assert sample("godwit_loop_failures_total", {"loop": "planner"}) is None


def test_of_several_control_planes_only_the_one_that_leads_shows_the_fleet(embedded: World) -> None:
    embedded.run()
    app_of(embedded)
    parts = (embedded.context, embedded.shelf, embedded.logs, accounts_of(embedded), dict)
    follower = TestClient(create_app(State(*parts, leads=lambda: False)), headers=BEARER)
    leader = TestClient(create_app(State(*parts)), headers=BEARER)
    assert value(shown(leader), "godwit_leads") == 1
    assert "godwit_nodes" in names(shown(leader))
    assert value(shown(follower), "godwit_leads") == 0
    assert not {"godwit_nodes", "godwit_gpus", "godwit_jobs", "godwit_events_total"} & names(shown(follower))
    assert "godwit_build_info" in names(shown(follower))


def test_the_tables_are_read_once_for_scrapers_in_a_hurry(embedded: World) -> None:
    exposition = client_of(embedded).app.state.godwit.exposition  # type: ignore[attr-defined]
    first = exposition.text()
    embedded.submit()
    assert exposition.text() == first
    assert replace(embedded.context).instruments is embedded.context.instruments
