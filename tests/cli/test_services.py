"""Services on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from godwit.cli import replicated
from godwit.cli.exits import ExitCode

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page


def service(**changes: Any) -> dict[str, Any]:
    """A ServiceView as JSON."""
    return {
        "kind": "service", "id": "service-1", "name": "chat", "project": "default", "state": "serving",
        "created_at": AT, "version": 2, "replicas": 2, "replicas_min": 1, "replicas_max": 4, "ready": 2,
        "starting": 0, "draining": 0, "rollout": None, "why": "", **changes,
    }  # fmt: skip


def detail(**changes: Any) -> dict[str, Any]:
    """A ServiceDetail as JSON."""
    spec = {"kind": "service", "name": "chat", "run": "serve"}
    replica = {
        "job_id": "job-1", "name": "chat-0", "version": 2, "state": "ready", "state_since": AT,
        "job_state": "running", "created_at": AT, "url": "http://127.0.0.1:1", "zone": "aurora/north", "spot": True,
        "in_flight": 3, "detail": "",
    }  # fmt: skip
    return {**service(), "spec": spec, "versions": [], "replica_list": [replica], "traffic": None, **changes}


def back(why: str) -> dict[str, Any]:
    """A change of versions that is taken back."""
    return {
        "version": 3, "before": 2, "strategy": "canary", "began_at": AT, "step": 1, "share": 0.0, "backwards": why,
    }  # fmt: skip


def test_services_are_listed_with_what_is_ready_wanted_and_changing(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/services", page(service(), service(name="other", rollout=back("it failed"))))
    assert godwit("services") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:7] == ["chat", "serving", "2", "2", "2", "of", "1..4"]
    assert "back to 2" in lines[2]


def test_a_service_is_shown_with_its_replicas_and_why_it_went_back(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/services/chat", detail(rollout=back("9% of its requests failed"), why="chat-1: no node"))
    assert godwit("services", "show", "chat") == 0
    said = capsys.readouterr().out
    assert "taken back: 9% of its requests failed" in said
    assert "chat-1: no node" in said
    assert "aurora/north (spot)" in said


def test_what_is_wished_of_a_service_is_sent(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    for method, path in (("PUT", "scale"), ("POST", "move"), ("POST", "rollback")):
        scripted.on(method, f"/v1/services/chat/{path}", service())
    scripted.on("DELETE", "/v1/services/chat", service(state="deleting"))
    assert godwit("scale", "chat", "3") == 0
    assert godwit("services", "move", "chat", "--to", "aurora") == 0
    assert godwit("services", "rollback", "chat") == 0
    assert godwit("services", "rm", "chat") == 0
    bodies = [json.loads(one.content) if one.content else None for one in scripted.asked]
    assert bodies == [{"replicas": 3}, {"to": "aurora"}, None, None]


def test_a_change_of_versions_is_shown_and_steered(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {**back(""), "steps": 3, "paused": "held by ann"}
    versions = [
        {"version": 2, "share": 0.75, "created_at": AT, "replicas": 2, "ready": 2},
        {"version": 3, "share": 0.25, "created_at": AT, "replicas": 1, "ready": 0},
    ]
    scripted.on("GET", "/v1/services/chat", detail(rollout=change, versions=versions))
    scripted.on("POST", "/v1/services/chat/rollout", service())
    assert godwit("rollout", "chat") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "chat: canary from version 2 to 3, step 2 of 3",
        "paused: held by ann; `godwit rollout chat resume`",
        "version 2: 75% of the requests, 2 of 2 replicas ready",
        "version 3: 25% of the requests, 0 of 1 replicas ready",
    ]
    for arguments in (("pause",), ("resume",), ("promote",), ("undo",), ("undo", "--to", "2")):
        assert godwit("rollout", "chat", *arguments) == 0
    assert godwit("rollout", "chat", "pause", "--to", "2") == ExitCode.USAGE
    bodies = [json.loads(one.content) for one in scripted.asked if one.method == "POST"]
    words = [{"action": word} for word in ("pause", "resume", "promote", "undo")]
    assert bodies == [*words, {"action": "undo", "to": 2}]


def test_run_sends_a_service_where_services_go_and_follows_it_until_it_serves(
    scripted: ScriptedControlPlane, godwit: Godwit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "service.yaml"
    spec.write_text("kind: service\nname: chat\nrun: python serve.py\nreplicas: 1..4\n")
    plan = {"feasible": True, "actions": [], "refusals": [], "price_usd_per_hour": 0.0, "count": 1}
    scripted.on("POST", "/v1/plans", plan)
    scripted.on("POST", "/v1/services", service(), status=202)
    scripted.on("GET", "/v1/services/service-1", detail())
    assert godwit("run", "-y", str(spec)) == 0
    assert "2 of 2 replicas take requests" in capsys.readouterr().err
    scripted.on("GET", "/v1/services/service-1", detail(version=1))
    assert godwit("run", "-y", str(spec)) == ExitCode.FAILED, "the new version was taken back"


def test_following_goes_on_while_the_control_plane_is_away(scripted: ScriptedControlPlane) -> None:
    said: list[str] = []
    scripted.on("GET", "/v1/services/chat", detail(ready=1))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        away = len(pauses) == 1
        scripted.on("GET", "/v1/services/chat", "" if away else detail(), status=503 if away else 200)

    final = replicated.until_ready(scripted.client, "chat", said.append, monotonic=lambda: 0.0, pause=pause)
    assert final.ready == 2
    assert any("the service goes on" in line for line in said)
    assert "the control plane answers again" in said


def test_a_key_is_shown_once(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/keys", {"id": "key-1", "text": "gw_secret", "services": ["chat"]}, status=201)
    assert godwit("keys", "add", "--service", "chat", "--batch") == 0
    assert capsys.readouterr().out == "gw_secret\n"
    assert json.loads(scripted.asked[-1].content) == {
        "project": "default",
        "services": ["chat"],
        "priority": "batch",
    }
