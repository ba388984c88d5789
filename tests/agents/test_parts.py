"""The smaller parts of the agent: settings, progress, the cluster's flags and environment, the journal on disk."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from godwit.agents import core, settings
from godwit.agents.core import Core
from godwit.agents.effects import Running, StartRuntime
from godwit.agents.link import Dismissed, Link, Unreachable
from godwit.agents.progress import ProgressReader
from godwit.agents.runtime import ray_cluster
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import boottime_s, read_deadline_s
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.state import AgentState
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.agents import HeartbeatReply, HeartbeatRequest, Peer, StartAttempt

FACTS = NodeFacts(address="127.18.0.3", cpus=2, python="/venv/bin/python", simulated=True)


def start(rank: int = 0, **more: Any) -> StartAttempt:
    fields: dict[str, Any] = {
        "intent_id": "i", "job_id": "j", "job_name": "n", "attempt_id": "att-1", "epoch": 2, "rank": rank,
        "peers": [Peer(rank=1, node_id="b", address="127.18.0.4"), Peer(rank=0, node_id="a", address="127.18.0.3")],
        "gpus": [2, 3], "port": 20_000, "ray_token": "secret-token", "run": "true", "setup": None,
        "workdir_digest": None, "env": {}, "store": "file:///s",
    }  # fmt: skip
    return StartAttempt(**{**fields, **more})


def test_missing_settings_are_named_all_at_once() -> None:
    with pytest.raises(InvalidRequest, match="GODWIT_NODE_DIR, GODWIT_NODE_ADDRESS"):
        settings.from_env({"GODWIT_URL": "http://x"})


def test_the_newest_whole_line_of_progress_counts(tmp_path: Path) -> None:
    reader, path = ProgressReader(tmp_path, "att-1"), tmp_path / "progress.jsonl"
    assert reader.newest() is None
    lines = [json.dumps({"at": 1.0, "step": step, "total_steps": 9, "metrics": {"loss": 0.5}}) for step in (1, 2)]
    path.write_text("\n".join(lines) + '\nnonsense\n{"at": 1.0, "st')
    newest = reader.newest()
    assert newest is not None
    assert (newest.step, newest.total_steps, newest.metrics) == (2, 9, {"loss": 0.5})
    assert reader.newest() is None
    with path.open("a") as file:
        file.write('ep": 3}\n')
    newest = reader.newest()
    assert newest is not None
    assert newest.step == 3


def test_progress_goes_on_after_the_file_was_replaced(tmp_path: Path) -> None:
    reader, path = ProgressReader(tmp_path, "att-1"), tmp_path / "progress.jsonl"
    path.write_text('{"at": 1, "step": 1}\n' * 50)
    reader.newest()
    (tmp_path / "new").write_text('{"at": 1, "step": 2}\n')
    (tmp_path / "new").replace(path)
    newest = reader.newest()
    assert newest is not None
    assert newest.step == 2


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "7",
        '{"step": 1}',
        '{"at": "x", "step": 1}',
        '{"at": 1, "step": "one"}',
        '{"at": 1, "step": -1}',
        '{"at": 1, "step": 1e300}',
        '{"at": NaN, "step": 1}',
    ],
)
def test_a_line_that_makes_no_sense_is_no_progress(tmp_path: Path, line: str) -> None:
    (tmp_path / "progress.jsonl").write_text(line + "\n")
    assert ProgressReader(tmp_path, "att-1").newest() is None


def test_metrics_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text('{"at":1,"step":1,"metrics":{"a":NaN,"b":"x","c":2,"d":Infinity}}\n')
    newest = ProgressReader(tmp_path, "att-1").newest()
    assert newest is not None
    assert newest.metrics == {"c": 2.0}


def test_the_head_starts_at_once_and_workers_wait_for_it(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path, "att-1")
    head = ray_cluster.steps(start(0, setup="make"), folder, FACTS)
    worker = ray_cluster.steps(start(1), folder, FACTS)
    assert [step["name"] for step in head] == ["setup", "ray"]
    assert [step["name"] for step in worker] == ["wait", "ray"]
    assert worker[0]["connect"] == ["127.18.0.3", 20_000]
    assert {"--head", "--port=20000", "--dashboard-port=20001", "--num-gpus=2"} <= set(head[1]["argv"])
    assert "--address=127.18.0.3:20000" in worker[1]["argv"]


def test_tokens_are_in_the_environment_and_never_in_a_command_line(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path, "att-1")
    machine = {"GODWIT_JOIN_TOKEN": "join-secret", "GODWIT_URL": "u", "RAY_ADDRESS": "stranger", "HOME": "/root"}
    env = ray_cluster.environment(start(0, env={"WANDB_MODE": "offline"}), folder, FACTS, machine)
    assert "join-secret" not in env.values()
    assert env["RAY_AUTH_TOKEN"] == "secret-token"
    assert env["RAY_ADDRESS"] == "127.18.0.3:20000"
    assert env["GODWIT_NODE_IPS"] == "127.18.0.3\n127.18.0.4"
    assert (env["CUDA_VISIBLE_DEVICES"], env["HOME"], env["WANDB_MODE"]) == ("2,3", "/root", "offline")
    assert "secret-token" not in json.dumps(ray_cluster.steps(start(0), folder, FACTS))


def test_a_program_is_told_its_share_of_a_gpu(tmp_path: Path) -> None:
    half = start(0).model_copy(update={"gpu_milli": 500})
    env = ray_cluster.environment(half, AttemptFolder(tmp_path, "att-1"), FACTS, {})
    assert (env["GODWIT_GPU_SHARE"], env["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == ("0.5", "0.450")
    whole = ray_cluster.environment(start(0), AttemptFolder(tmp_path, "att-1"), FACTS, {})
    assert "GODWIT_GPU_SHARE" not in whole


def test_the_journal_is_saved_before_effects_and_survives(tmp_path: Path) -> None:
    carried: list[Any] = []

    def carry_out(effect: Any) -> None:
        assert "att-1" in (tmp_path / "journal.json").read_text()
        carried.append(effect)

    keeper = Core(AgentState("agent-one"), tmp_path, carry_out)
    keeper.renewed(boottime_s(), 30.0)
    keeper.command(start())
    assert carried == [StartRuntime(start())]
    assert keeper.urgent.is_set()
    keeper.renewed(boottime_s(), 60.0)
    again = core.load(tmp_path, "agent-one")
    assert [a.attempt_id for a in again.live()] == ["att-1"]
    assert again.lease_until == pytest.approx(boottime_s() + 60, abs=1), "newer than in the journal"


def test_a_lease_from_before_a_reboot_counts_for_nothing(tmp_path: Path) -> None:
    Core(AgentState("agent-one"), tmp_path, lambda _e: None).apply(lambda _s, _n: [])
    (tmp_path / "lease").write_text(f"{boottime_s() + 1e6} another-boot")
    assert core.load(tmp_path, "agent-one").lease_until is None


def test_an_answered_heartbeat_moves_the_lease_of_the_guards(tmp_path: Path) -> None:
    keeper = Core(AgentState("agent-one"), tmp_path, lambda _e: None)
    keeper.answered(100.0, HeartbeatReply(lease_s=15, heartbeat_s=1, acknowledged_seq=0))
    assert read_deadline_s(keeper.lease_path) == 115.0


def test_more_than_a_heartbeat_holds_follows_at_once_but_only_while_it_is_taken(tmp_path: Path) -> None:
    keeper = Core(AgentState("agent-one"), tmp_path, lambda _e: None)
    keeper.renewed(boottime_s(), 60.0)
    for intent in range(600):
        keeper.command(start(intent_id=f"i{intent}"))  # one is taken on, the others are refused

    def answered(seq: int) -> bool:
        return keeper.answered(boottime_s(), HeartbeatReply(lease_s=15, heartbeat_s=1, acknowledged_seq=seq))

    assert len(keeper.heartbeat().observations) == 256
    assert not answered(0)
    assert answered(256)
    assert answered(512)
    assert not answered(600)
    assert keeper.heartbeat().observations == []


def test_events_from_many_threads_are_all_kept(tmp_path: Path) -> None:
    keeper = Core(AgentState("agent-one"), tmp_path, lambda _e: None)
    keeper.renewed(boottime_s(), 60.0)
    for job in range(20):
        keeper.command(start(job_id=f"j{job}", attempt_id=f"a{job}", intent_id=f"i{job}", gpus=[]))
    threads = [
        threading.Thread(target=lambda name=f"a{job}": keeper.apply(lambda s, n: s.runtime(Running(name), n)))
        for job in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = [o.seq for o in keeper.heartbeat().observations]
    assert seqs == list(range(1, 41))


def test_errors_of_the_control_plane_are_sorted_by_what_to_do(plane: Any) -> None:
    link, beat = Link(plane.url, "credential-x"), HeartbeatRequest(agent_id="agent-one")
    plane.mute = True
    with pytest.raises(Unreachable, match="503"):
        link.heartbeat(beat)
    plane.mute, plane.dismiss = False, True
    with pytest.raises(Dismissed):
        link.heartbeat(beat)
    with pytest.raises(Unreachable):
        Link("http://127.0.0.1:9").heartbeat(beat)


def test_an_archive_of_another_digest_is_not_taken(plane: Any, tmp_path: Path) -> None:
    digest = "0" * 64
    plane.archives[digest] = b"something else"
    with pytest.raises(Unreachable, match="another digest"):
        Link(plane.url, "credential-x").download(digest, tmp_path / "a")
