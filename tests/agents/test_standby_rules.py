"""Which attempts take a Ray that stands by, what they are told, and where one stands by at all."""

from pathlib import Path
from typing import Any

import pytest
from godwit.agents import settings
from godwit.agents.runtime import ray_cluster, spare_memory, standby
from godwit.agents.runtime.folder import AttemptFolder, StoodBy
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.agents import Peer, StartAttempt


def start(**more: Any) -> StartAttempt:
    fields: dict[str, Any] = {
        "job_id": "job-1", "job_name": "a", "epoch": 1, "rank": 0, "gpus": [0, 1], "port": 20_000, "run": "true",
        "peers": [Peer(rank=0, node_id="node-0", address="127.0.0.1")], "ray_token": "theirs", "setup": None,
        "workdir_digest": None, "env": {"WANDB_MODE": "offline"}, "store": "file:///store",
    }  # fmt: skip
    return StartAttempt(intent_id="start-1", attempt_id="att-1", **(fields | more))


@pytest.mark.parametrize(
    "different",
    [
        {"gpus": [0]},
        {"gpus": []},
        {"gpu_milli": 500},
        {"setup": "pip install ray"},
        {"process_saves": True},
        {"bends": True},
        {"peers": [Peer(rank=0, node_id="a", address="127.0.0.1"), Peer(rank=1, node_id="b", address="127.0.0.2")]},
        {"env": {"RAY_memory_usage_threshold": "0.9"}},
        {"env": {"CUDA_VISIBLE_DEVICES": "1,0"}},
        {"env": {"WANDB_API_KEY": "hush"}},
        {"env": {"GREETING": "you have $5"}},
    ],
    ids=str,
)
def test_an_attempt_that_needs_another_ray_starts_its_own(different: dict[str, Any]) -> None:
    assert standby.stranger(start(**different), [0, 1])
    assert standby.stranger(start(), [1, 0]) == ""


def test_the_program_is_told_what_its_ray_was_not_and_no_token(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path, "att-1")
    told = standby.variables(start(), folder)
    assert told["WANDB_MODE"] == "offline"
    assert (told["GODWIT_ATTEMPT_ID"], told["GODWIT_EPOCH"]) == ("att-1", "1")
    assert told["GODWIT_RUN_DIR"] == str(folder.run)
    assert "theirs" not in told.values()
    own = ray_cluster.environment(start(), folder, NodeFacts("127.0.0.1", 2, "/x/python", simulated=True), {})
    assert {name: value for name, value in told.items() if not name.startswith("RAY_")}.items() <= own.items()


def test_its_processes_know_of_no_attempt_but_their_mark(tmp_path: Path) -> None:
    folder, facts = (
        AttemptFolder(tmp_path, "ray-1", standby.SHELF),
        NodeFacts("127.0.0.1", 2, "/x/python", simulated=True),
    )
    stood_by = StoodBy(30_000, "ours", str(folder.ray), str(folder.run))
    machine = {"GODWIT_PYTHON": "/x/python", "HOME": "/root"}
    env = standby.environment(standby.composed("ray-1", stood_by, facts, [0]), folder, facts, machine)
    assert {name for name in env if name.startswith("GODWIT_")} == {"GODWIT_PYTHON", "GODWIT_RUN_DIR"}
    assert (env["RAY_AUTH_TOKEN"], env["RAY_ADDRESS"], env["CUDA_VISIBLE_DEVICES"]) == ("ours", "127.0.0.1:30000", "0")


def test_memory_is_what_the_container_leaves_where_that_is_less(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 64 kB\n")
    assert spare_memory.available_bytes(tmp_path) == 64 * 1024
    (group / "memory.max").write_text("10000\n")
    (group / "memory.current").write_text("9000\n")
    (group / "memory.stat").write_text("anon 7000\ninactive_file 2000\n")
    assert spare_memory.available_bytes(tmp_path) == 3_000
    (group / "memory.max").write_text("max\n")
    assert spare_memory.available_bytes(tmp_path) == 64 * 1024


@pytest.mark.parametrize(
    ("env", "stands_by"),
    [
        ({}, True),
        ({"GODWIT_WARM_RAY": "false"}, False),
        ({"GODWIT_FAKE_GPUS": "[]"}, False),
        ({"GODWIT_INSTANCE_MARK": "mine"}, False),
        ({"GODWIT_FAKE_GPUS": "[]", "GODWIT_WARM_RAY": "true"}, True),
    ],
    ids=str,
)
def test_it_stands_by_on_real_machines_that_are_nobodys_own_unless_told(
    env: dict[str, str], *, stands_by: bool
) -> None:
    needed = {"GODWIT_URL": "http://127.0.0.1:9", "GODWIT_NODE_DIR": "/n", "GODWIT_NODE_ADDRESS": "127.0.0.1"}
    assert settings.from_env(needed | env).warm_ray is stands_by
    with pytest.raises(InvalidRequest, match="takes true or false"):
        settings.from_env(needed | {"GODWIT_WARM_RAY": "perhaps"})
