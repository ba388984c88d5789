"""`godwit incidents` and `godwit breaker`: lists, a story, its evidence as a file, and what a person says."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page

CASE = "incident-4f0zq1m2k7xv9a"
INCIDENT: dict[str, Any] = {
    "id": CASE, "node_id": "node-4f0zq1m2k7xv9a", "provider": "sim-aurora", "state": "repairing", "opened_at": AT,
    "state_since": AT, "check": "kernel-log", "code": "xid:79", "rule": "table", "remedy": "reboot", "tried": ["none"],
    "reason": "Xid 79: the GPU has fallen off the bus, and this is a long story", "gpus": ["GPU-1"], "jobs": ["job-1"],
    "cause": None, "detail": "",
}  # fmt: skip
EVENT = {
    "seq": 1, "at": AT, "kind": "incident.eviction", "subject": "incident", "subject_id": CASE,
    "reason": "GPU 3 is lost", "actor": "planner", "job_id": "job-1", "node_id": "node-4f0zq1m2k7xv9a",
}  # fmt: skip
DETAIL = INCIDENT | {
    "findings": [
        {
            "id": "finding-1", "node_id": "node-4f0zq1m2k7xv9a", "at": AT, "check": "kernel-log", "grade": "unhealthy",
            "reason": "fell off the bus", "code": "xid:79", "suggested": "none", "gpu": "GPU-1", "job_id": "job-1",
            "attempt_id": None, "boot_id": "b", "evidence": {"line": "NVRM: Xid 79"},
        }
    ],
    "orders": [{"kind": "repair", "ordered_at": AT, "ended_at": AT + 5, "passed": False, "detail": "no rights"}],
    "evictions": [
        {"job_id": "job-1", "attempt_id": "attempt-1", "at": AT, "restarted_at": AT + 20, "first_step_at": None}
    ],
    "timeline": [EVENT],
}  # fmt: skip
EVIDENCE = {
    "godwit": "0.1", "made_at": AT, "summary": "GPU 3 is lost", "devices": [], "incident": DETAIL,
    "machine": {
        "node_id": "node-4f0zq1m2k7xv9a", "provider": "sim-aurora", "region": "north", "zone": None,
        "instance_type": "h100.8x", "instance_id": "i-1", "fabric_domain": None, "boot_ids": ["b"],
    },
}  # fmt: skip


def test_without_a_word_those_that_are_open_are_listed_within_80_columns(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/incidents", page(INCIDENT))
    assert godwit("incidents") == 0
    title, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["ID", "STATE", "AGE", "NODE", "CODE", "REMEDY", "REASON"]
    assert line.split()[:2] == [CASE, "repairing"]
    assert dict(scripted.asked[0].url.params)["all"] == "false"


def test_options_of_the_list_reach_the_control_plane(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/incidents", page(INCIDENT))
    assert godwit("incidents", "--all", "--node", "node-1", "--state", "held", "-o", "json") == 0
    asked = dict(scripted.asked[0].url.params)
    assert (asked["all"], asked["node"], asked["state"]) == ("true", "node-1", "held")
    assert json.loads(capsys.readouterr().out)[0]["code"] == "xid:79"


def test_an_id_in_place_of_a_command_tells_all_of_that_incident(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", f"/v1/incidents/{CASE}", DETAIL)
    assert godwit("incidents", CASE) == 0
    told = capsys.readouterr().out
    assert "remedy: reboot, by rule table; tried before: none" in told
    assert "line: NVRM: Xid 79" in told
    assert "job job-1: ran again after 20s, first new step not yet" in told
    assert "repair: failed after 5.0s: no rights" in told
    assert told.splitlines()[-1].endswith("eviction: GPU 3 is lost")


def test_the_evidence_is_written_to_a_file(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scripted.on("GET", f"/v1/incidents/{CASE}/evidence", EVIDENCE)
    assert godwit("incidents", CASE, "--evidence", str(tmp_path / "case.json")) == 0
    assert json.loads((tmp_path / "case.json").read_text())["machine"]["instance_id"] == "i-1"
    assert "send it to sim-aurora: GPU 3 is lost" in capsys.readouterr().err
    assert godwit("incidents", CASE, "--evidence", str(tmp_path / "none" / "case.json")) == 1


@pytest.mark.parametrize(("verb", "state"), [("close", "closed"), ("retest", "testing")])
def test_a_person_closes_an_incident_or_has_it_tested_again(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], verb: str, state: str
) -> None:
    scripted.on("POST", f"/v1/incidents/{CASE}/{verb}", INCIDENT | {"state": state}, 202)
    assert godwit("incidents", verb, CASE) == 0
    assert capsys.readouterr().err.strip() == f"{CASE} is {state}"


def test_the_breaker_says_how_it_stands_and_is_reset(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    cordon = {"node_id": "node-1", "at": AT, "provider": "sim-aurora", "fabric_domain": "sim-aurora/north"}
    closed: dict[str, Any] = {"tripped_at": None, "reason": "", "cordons": []}
    scripted.on("GET", "/v1/breaker", {"tripped_at": AT, "reason": "a fifth of the fleet", "cordons": [cordon]})
    scripted.on("POST", "/v1/breaker/reset", closed, 202)
    assert godwit("breaker") == 0
    told = capsys.readouterr().out
    assert "a fifth of the fleet" in told
    assert "took node-1 out (sim-aurora, sim-aurora/north)" in told
    assert godwit("breaker", "reset") == 0
    scripted.on("GET", "/v1/breaker", closed)
    assert godwit("breaker") == 0
    assert capsys.readouterr().out.strip() == "closed: automation acts"
