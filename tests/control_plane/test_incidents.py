"""What people see of incidents and do with them: lists, a timeline, evidence for a vendor, an end, and the breaker."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.services import nodes
from godwit.domain.health import IncidentState, Remedy
from godwit.domain.ids import AttemptId, IncidentId, JobId, NodeId
from godwit.domain.nodes import Health
from godwit.domain.wire.health import RepairDone
from godwit.domain.wire.incidents import BreakerView, EvidenceView, IncidentDetail, IncidentView
from godwit.domain.wire.pages import Page
from godwit.scheduler.plan import CordonNode, Evict, MarkHealth, MoveIncident, RepairNode, TripBreaker

from tests.control_plane.apis import client_of
from tests.control_plane.caring import carry_out, opened, view
from tests.control_plane.world import Agent, World

EVIDENCE = {"line": "NVRM: Xid (PCI:0000:3b:00): 79, pid=12", "serial": "1653922003312", "remapped": 4}


@pytest.fixture
def client(embedded: World) -> TestClient:
    return client_of(embedded)


def broken(world: World, *gpus: int, **more: Any) -> tuple[str, Agent, str]:
    """A job, the agent of its node, and an incident there, as far as its remedy is ordered: ids of job and incident."""
    job_id, (agent,) = world.run()
    agent.beat(agent.found("xid:79", gpu=gpus[0] if gpus else None, evidence=EVIDENCE, boot_id="boot-1"))
    case, node_id = opened(world, agent.node_id, *gpus, **more), NodeId(agent.node_id)
    devices = case.gpus or (node_id,)
    carry_out(
        world,
        *(MarkHealth(device, node_id, Health.FAULTY, case.reason) for device in devices),
        CordonNode(node_id, case.reason),
        Evict(AttemptId(world.attempt(job_id).id), JobId(job_id), case.id, saves=False, reason=case.reason),
        MoveIncident(case.id, IncidentState.REPAIRING, "a reboot is due"),
        RepairNode(node_id, case.id, Remedy.REBOOT, (), case.reason),
    )
    return job_id, agent, case.id


def listed(client: TestClient, **params: Any) -> list[str]:
    answer = client.get("/v1/incidents", params=params)
    assert answer.status_code == 200, answer.text
    return [one.id for one in Page[IncidentView].model_validate(answer.json()).items]


def test_lists_show_what_is_open_unless_all_or_a_state_is_asked_for(world: World) -> None:
    client = client_of(world)
    _, agent, case = broken(world, 3)
    assert listed(client) == listed(client, node=agent.node_id) == listed(client, provider="cheap") == [case]
    assert listed(client, state=["repairing", "held"]) == [case]
    assert listed(client, node="node-other") == listed(client, state=["closed"]) == []
    assert client.post(f"/v1/incidents/{case}/close").json()["state"] == "closed"
    assert listed(client) == []
    assert listed(client, all=True) == listed(client, state=["closed"]) == [case]


def test_pages_go_on_where_the_last_one_ended(world: World) -> None:
    client = client_of(world)
    _, agent, _ = broken(world, 0)
    for number in range(3):
        world.clock.advance(1.0 if number else 0.0)
        opened(world, agent.node_id, 1, id=f"incident-{number}")
    first = client.get("/v1/incidents", params={"limit": 2}).json()
    rest = client.get("/v1/incidents", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    ids = [one["id"] for one in first["items"] + rest["items"]]
    assert len(set(ids)) == 4
    assert ids[:2] == ["incident-2", "incident-1"]


def test_one_incident_tells_what_was_found_done_and_by_which_rule(world: World) -> None:
    client = client_of(world)
    job_id, agent, case = broken(world, 3)
    (repair,) = [command for command in agent.commands() if command.type == "repair-node"]
    agent.beat(agent.observed(RepairDone, intent_id=repair.intent_id, worked=False, detail="no rights"))
    detail = IncidentDetail.model_validate(client.get(f"/v1/incidents/{case}").json())
    (finding,) = detail.findings
    assert (finding.evidence, finding.rule, finding.remedy, finding.job_id) == (EVIDENCE, "table", "reboot", job_id)
    assert [(order.kind, order.passed, order.detail) for order in detail.orders] == [("repair", False, "no rights")]
    assert [(one.job_id, one.restarted_at) for one in detail.evictions] == [(job_id, None)]
    assert detail.jobs == [job_id]
    assert [event.kind.removeprefix("incident.") for event in detail.timeline] == [
        "state", "symptom", "decision", "eviction", "state", "repair", "repaired",
    ]  # fmt: skip


def test_the_evidence_names_machine_and_device_and_holds_the_lines(embedded: World, client: TestClient) -> None:
    _, agent, case = broken(embedded, 3)
    answer = client.get(f"/v1/incidents/{case}/evidence")
    bundle = EvidenceView.model_validate(answer.json())
    node = embedded.node(agent.node_id)
    assert (bundle.machine.instance_id, bundle.machine.boot_ids) == (node.instance_id, ["boot-1"])
    (device,) = bundle.devices
    assert (device.id, device.index, device.serial) == (f"GPU-{agent.node_id}-3", 3, "1653922003312")
    assert (device.health, device.faults) == ("faulty", 1)
    assert bundle.incident.findings[0].evidence["line"] == EVIDENCE["line"]
    assert bundle.summary.startswith(f"GPU 3 (H100-SXM, {device.id}) of {node.instance_id} (h100.8x, cheap/north): ")
    assert embedded.join_token(agent.node_id) not in answer.text
    assert agent.credential not in answer.text


def test_closing_makes_devices_healthy_and_lets_the_node_work_again(embedded: World, client: TestClient) -> None:
    _, agent, case = broken(embedded)
    assert embedded.node(agent.node_id).state == "cordoned"
    for _ in range(2):
        assert client.post(f"/v1/incidents/{case}/close").status_code == 202
    assert (embedded.node(agent.node_id).state, view(embedded).records[agent.node_id].state) == (
        "ready",
        Health.HEALTHY,
    )
    assert [e.reason for e in embedded.events("incident.state") if e.new == "closed"] == ["closed by token token-test"]


def test_closing_leaves_out_what_another_incident_holds(embedded: World, client: TestClient) -> None:
    _, agent, case = broken(embedded, 3, 4, remedy=Remedy.RESET_GPU)
    opened(embedded, agent.node_id, 4, id="incident-other", remedy=Remedy.REBOOT)
    assert client.post(f"/v1/incidents/{case}/close").status_code == 202
    health = {gpu.index: gpu.health for gpu in embedded.node(agent.node_id).gpus}
    assert (health[3], health[4], embedded.node(agent.node_id).state) == ("healthy", "faulty", "cordoned")


def test_what_a_person_repaired_is_tested_again(embedded: World, client: TestClient) -> None:
    _, _, case = broken(embedded, 3)
    refused = client.post(f"/v1/incidents/{case}/retest")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    carry_out(embedded, MoveIncident(IncidentId(case), IncidentState.ESCALATED, "nothing stronger is left"))
    for _ in range(2):
        assert client.post(f"/v1/incidents/{case}/retest").json()["state"] == "testing"


@pytest.mark.parametrize("how", ["given back", "lost"])
def test_an_escalated_incident_closes_by_itself_once_its_machine_is_gone(embedded: World, how: str) -> None:
    _, agent, case = broken(embedded, 3)
    carry_out(embedded, MoveIncident(IncidentId(case), IncidentState.ESCALATED, "nothing stronger is left"))
    embedded.plan()
    assert [one.state for one in view(embedded).incidents] == [IncidentState.ESCALATED]
    if how == "given back":
        nodes.terminate(embedded.context, agent.node_id, "token t")
    else:
        embedded.forget_machine(agent.node_id)
        embedded.clock.advance(60.0)
    for _ in range(4):
        embedded.execute()
        embedded.plan()
    assert view(embedded).incidents == ()
    closed = [event.reason for event in embedded.events("incident.state") if event.new == "closed"]
    assert closed == ["the machine is gone"]


def test_only_a_person_resets_the_breaker(embedded: World, client: TestClient) -> None:
    _, agent, _ = broken(embedded, 3)
    carry_out(embedded, TripBreaker("a fifth of the fleet would leave at once"))
    found = BreakerView.model_validate(client.get("/v1/breaker").json())
    assert (found.tripped_at, found.reason) == (embedded.clock.now(), "a fifth of the fleet would leave at once")
    assert [cordon.node_id for cordon in found.cordons] == [agent.node_id]
    for _ in range(2):
        reset = BreakerView.model_validate(client.post("/v1/breaker/reset").json())
        assert (reset.tripped_at, reset.cordons) == (None, [])
    (told,) = embedded.events("breaker.reset")
    assert told.reason.startswith("reset by token token-test; it had tripped because a fifth")


def test_there_is_no_incident_of_another_name(client: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/evidence"), ("POST", "/close"), ("POST", "/retest")):
        assert client.request(method, f"/v1/incidents/nobody{path}").status_code == 404
