"""`godwit migrate`: the plan with its arithmetic comes first, then the question; then each step is told."""

from typing import Any

import httpx
import pytest

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, job

PATH = "/v1/jobs/digits/migrations"
SUM = {
    "from_usd_per_hour": 30.0, "to_usd_per_hour": 20.0, "saving_usd_per_hour": 10.0, "left_h": 9.0, "left_by": "owner",
    "saving_usd": 90.0, "overlap_usd": 3.0, "standstill_usd": 1.0, "egress_usd": 0.5, "cost_usd": 4.5,
    "checkpoint_bytes": 10**9, "text": "($30.00/h - $20.00/h) x 9.00 h = $90.00 > $4.50",
}  # fmt: skip
PLAN = {"job_id": "job-1", "job_name": "digits", "to": "dear", "buys": {"dear/south/-/h100/on-demand": 2}, "sum": SUM}


def migration(**changes: Any) -> dict[str, Any]:
    return {
        "id": "migration-1", "job_id": "job-1", "state": "planned", "created_at": AT, "state_since": AT,
        "actor": "token t", "reason": "moves", "from_epoch": 1, "to": "dear", "store": None, "nodes": [],
        "moved_bytes": 0, "downtime_s": None, "detail": "", **changes,
    }  # fmt: skip


@pytest.fixture
def planned(scripted: ScriptedControlPlane) -> ScriptedControlPlane:
    """A job that would move, and a control plane that takes the wish."""
    scripted.on("POST", f"{PATH}/plan", PLAN)
    scripted.on("POST", PATH, migration(), 202)
    return scripted


def test_the_plan_is_shown_and_nothing_is_moved_unasked(
    planned: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert godwit("migrate", "digits", "--to", "dear", "--dry-run") == 0
    shown = capsys.readouterr().err
    assert "buy 2 x dear/south/-/h100/on-demand" in shown
    assert "$90.00 > $4.50" in shown
    assert planned.paths() == [f"POST {PATH}/plan"]
    assert godwit("migrate", "digits", "--to", "dear") == 2, "nobody is there to ask"
    assert f"POST {PATH}" not in planned.paths()


def test_each_step_is_told_until_it_works_there(
    planned: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _s: None)
    stories = [
        migration(state="preparing", detail="2 x dear bought"), migration(state="switching", detail="told to stop"),
        migration(state="done", detail="it works there", sum=SUM, downtime_s=7.5, moved_bytes=10**6),
    ]  # fmt: skip
    told = iter(stories)
    planned.routes["GET", PATH] = lambda _request: httpx.Response(200, json={"items": [next(told)]})
    assert godwit("migrate", "digits", "--to", "dear", "-y") == 0
    shown = capsys.readouterr().err
    for words in ("preparing: 2 x dear bought", "switching: told to stop", "done: it works there", "downtime: 7.5 s"):
        assert words in shown


def test_one_that_did_not_come_about_is_told_by_the_exit_code(
    planned: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    planned.on("POST", PATH, migration(state="failed", detail="a node was lost; it runs on"), 202)
    assert godwit("migrate", "digits", "--to", "dear", "-y") == 1
    assert "a node was lost; it runs on" in capsys.readouterr().err


def test_a_job_that_can_go_nowhere_is_told_why(
    planned: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    planned.on("POST", f"{PATH}/plan", PLAN | {"why_not": "nothing is sold there now", "buys": {}, "sum": None})
    assert godwit("migrate", "digits", "--to", "dear", "-y") == 6
    assert "stays where it is: nothing is sold there now" in capsys.readouterr().err


def test_cancel_lets_it_stay(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", f"{PATH}/cancel", migration(state="cancelled", detail="cancelled by token t"), 202)
    assert godwit("migrate", "digits", "--cancel") == 0
    assert "cancelled by token t" in capsys.readouterr().out


def test_explain_shows_the_inequality_and_what_was_measured(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {
        "hours": 2.0, "saving_usd": 20.0, "overlap_usd": 3.0, "standstill_usd": 1.0, "egress_usd": 0.5, "cost_usd": 4.5,
        "net_usd": 15.5,
    }  # fmt: skip
    moved = migration(state="done", detail="it works there", sum=SUM, downtime_s=7.5, measured=measured)
    body = {"job": job(), "headline": "running", "refusals": [], "last_lines": [], "events": [], "migrations": [moved]}
    scripted.on("GET", "/v1/jobs/digits/explain", body)
    assert godwit("explain", "digits") == 0
    shown = capsys.readouterr().out
    assert "predicted: ($30.00/h - $20.00/h)" in shown
    assert "= $15.50" in shown
