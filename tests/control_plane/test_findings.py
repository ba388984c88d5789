"""What agents say of health: findings are kept and bounded, answers end orders, and bad GPUs are known again."""

from dataclasses import replace

import pytest
from godwit.control_plane.services import health
from godwit.control_plane.store import entities
from godwit.control_plane.store import health as remembered
from godwit.domain.health import Grade, HealthRecord
from godwit.domain.ids import GpuUuid, NodeId
from godwit.domain.nodes import Gpu, Health

from tests.control_plane.caring import view
from tests.control_plane.world import World


def test_a_finding_is_what_the_planner_sees_with_the_job_that_held_the_gpu(world: World) -> None:
    job_id, (agent,) = world.run()
    evidence = {"line": "NVRM: Xid (PCI:0000:3b:00): 79, pid=12", "registers": 7, "ratio": 0.5}
    agent.beat(agent.found("xid:79", gpu=3, evidence=evidence, boot_id="boot-1"))
    (finding,) = view(world).findings
    assert (finding.node_id, finding.gpu, finding.code) == (agent.node_id, f"GPU-{agent.node_id}-3", "xid:79")
    assert (finding.at, finding.grade, finding.decided) == (world.clock.now(), Grade.UNHEALTHY, False)
    assert (finding.job_id, finding.attempt_id, finding.boot_id) == (job_id, None, "boot-1")
    assert finding.evidence == evidence
    (told,) = world.events("node.finding")
    assert (told.node_id, told.job_id, told.data["gpu"]) == (agent.node_id, job_id, 3)
    assert told.reason == "GPU 3: xid:79 was seen"


def test_a_heartbeat_that_comes_twice_brings_a_finding_once(embedded: World) -> None:
    _, (agent,) = embedded.run()
    seen = agent.found("xid:79", gpu=3)
    agent.beat(seen)
    agent.beat(seen)
    assert len(view(embedded).findings) == 1


def test_a_finding_of_a_gpu_that_the_node_does_not_have_counts_for_the_node(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=99))
    assert [finding.gpu for finding in view(embedded).findings] == [None]


def test_a_finding_of_a_job_names_it_only_if_the_node_has_a_part_in_it(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    mine = embedded.attempt(job_id).id
    agent.beat(agent.found("hang", attempt_id=mine), agent.found("hang", attempt_id="attempt-of-others"))
    assert [(f.attempt_id, f.job_id) for f in view(embedded).findings] == [(mine, job_id), (None, None)]


def test_of_several_jobs_on_one_gpu_none_is_blamed(embedded: World) -> None:
    _, (agent,) = embedded.run(gpus="H100:0.5")
    embedded.submit("other", gpus="H100:0.5")
    embedded.plan()
    agent.beat(agent.found("xid:48", gpu=0))
    assert [finding.job_id for finding in view(embedded).findings] == [None]


def test_a_node_that_tells_too_much_keeps_room_for_what_is_fatal(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FINDINGS_PER_DAY", 3)
    monkeypatch.setattr(health, "DEGRADED_PER_DAY", 2)
    _, (agent,) = embedded.run()
    agent.beat(*(agent.found(f"warm:{number}", grade="degraded") for number in range(5)))
    agent.beat(agent.found("xid:79", gpu=0), agent.found("xid:79", gpu=1))
    assert [finding.code for finding in view(embedded).findings] == ["warm:0", "warm:1", "xid:79"]


def test_what_nobody_asks_for_any_more_is_forgotten(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:13", gpu=0))
    (finding,) = view(embedded).findings
    with embedded.db.write() as tx:
        remembered.decide(tx, finding.id, finding.suggested, "table", "the program's fault", None)
        remembered.sweep(tx, embedded.clock.now() + remembered.KEPT_S - 1)
    assert view(embedded).findings == (replace(finding, decided=True),)
    with embedded.db.write() as tx:
        remembered.sweep(tx, embedded.clock.now() + remembered.KEPT_S + 1)
    assert view(embedded).findings == ()


def test_a_finding_without_a_decision_stays_in_view_however_old_it_is(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=0))
    with embedded.db.write() as tx:
        late = embedded.clock.now() + remembered.KEPT_S + remembered.FINDINGS_S
        remembered.sweep(tx, late)
        assert [finding.code for finding in remembered.view(tx.conn, late).findings] == ["xid:79"]


def test_a_gpu_that_was_bad_elsewhere_is_known_again_wherever_it_turns_up(world: World) -> None:
    _, (agent,) = world.run()
    node, now = world.node(agent.node_id), world.clock.now()
    gpus = (Gpu(GpuUuid("GPU-good"), 0, "H100-SXM", 80.0), Gpu(GpuUuid("GPU-bad"), 1, "H100-SXM", 80.0))
    bad = HealthRecord("GPU-bad", Health.RETIRED, now, now, NodeId("node-old"), "dear", 3, "row remap failed")
    with world.db.write() as tx:
        entities.insert(tx, bad)
        known = health.recognised(tx, node, gpus, now)
    assert [gpu.health for gpu in known] == [Health.HEALTHY, Health.RETIRED]
    record = view(world).records["GPU-bad"]
    assert (record.node_id, record.provider, record.faults) == (node.id, "cheap", 3)
    (told,) = world.events("node.known", node_id=node.id)
    assert told.reason == "known from before: GPU 1 is retired: row remap failed"
