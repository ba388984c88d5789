"""GPUs are tried before a program gets them; and what a job shows of trouble reaches whoever decides."""

import threading
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checks.active.running import ActiveChecks
from godwit.agents.effects import Found, HealthEvent, RuntimeEvent, StartRuntime, Stopped
from godwit.agents.link import Link
from godwit.agents.node import Node
from godwit.agents.runtime import preflight
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.state import AgentState
from godwit.domain.health import Grade
from godwit.domain.wire.agents import AttemptStopped, GpuFact, Peer, StartAttempt

FACTS = [GpuFact(index=n, uuid=f"GPU-{n}", model="H100-SXM", memory_gib=80.0) for n in range(4)]


def start(**more: Any) -> StartAttempt:
    fields: dict[str, Any] = {
        "intent_id": "i", "job_id": "j", "job_name": "n", "attempt_id": "att-1", "epoch": 2, "rank": 1,
        "peers": [Peer(rank=0, node_id="a", address="127.18.0.3"), Peer(rank=1, node_id="b", address="127.18.0.4")],
        "gpus": [1, 2, 3], "port": 20_000, "ray_token": "secret-token", "run": "true", "setup": None,
        "workdir_digest": None, "env": {}, "store": "file:///s",
    }  # fmt: skip
    return StartAttempt(**{**fields, **more})


@pytest.mark.parametrize(
    ("wish", "simulated", "env", "wanted"),
    [
        ("auto", False, {}, True),
        ("auto", True, {}, False),
        ("auto", True, {"GODWIT_PREFLIGHT": "1"}, True),
        ("always", True, {}, True),
        ("never", False, {"GODWIT_PREFLIGHT": "1"}, False),
    ],
)
def test_real_gpus_are_tried_unless_the_owner_says_otherwise(
    wish: str, simulated: bool, env: dict[str, str], wanted: bool
) -> None:
    assert preflight.is_wanted(start(preflight=wish), env, simulated=simulated) is wanted


def test_a_share_of_a_gpu_is_never_tried_and_no_gpu_neither() -> None:
    assert not preflight.is_wanted(start(preflight="always", gpus=[1], gpu_milli=500), {}, simulated=False)
    assert not preflight.is_wanted(start(preflight="always", gpus=[]), {}, simulated=False)


class Machine:
    """One node with fake GPUs, and what it told, in order; nothing of it answers to a network."""

    def __init__(self, path: Path, faults: dict[int, set[str]]) -> None:
        self.told: list[RuntimeEvent | HealthEvent] = []
        self.ended = threading.Event()
        facts = NodeFacts("127.18.0.4", 2, "/nowhere/python", simulated=True)
        self.node = Node(path, path / "lease", Link("http://127.0.0.1:9"), facts)
        self.node.report, self.node.found, self.node.gpus = self._tell, self._tell, lambda: FACTS
        self.node.checks = ActiveChecks(lambda: FACTS, self._tell, lambda: faults)

    def _tell(self, event: RuntimeEvent | HealthEvent) -> None:
        self.told.append(event)
        if isinstance(event, Stopped):
            self.ended.set()


def test_an_attempt_on_a_gpu_that_is_not_fit_ends_before_it_begins_and_says_so_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {0: {"slow"}, 2: {"silent-corruption"}})
    machine.node.carry_out(StartRuntime(start(preflight="always", store=f"file://{tmp_path}/store")))
    assert machine.ended.wait(120)
    found = [event for event in machine.told if isinstance(event, Found)]
    (end,) = [event for event in machine.told if isinstance(event, Stopped)]
    assert [(one.check, one.gpu, one.grade) for one in found] == [("preflight", "GPU-2", Grade.UNHEALTHY)]
    assert machine.told.index(found[0]) < machine.told.index(end)
    assert (end.outcome, end.preflight_failed) == ("interrupted", True)
    assert "GPU 2: its bf16 products differ" in end.detail


def test_a_failed_preflight_is_said_on_the_wire_unless_the_attempt_was_told_to_stop() -> None:
    def ended(state: AgentState) -> AttemptStopped:
        state.runtime(Stopped("att-1", "interrupted", preflight_failed=True), 1.0)
        end = state.observations()[-1]
        assert isinstance(end, AttemptStopped)
        return end

    state = AgentState("agent-1")
    state.renewed(0.0, 100.0)
    state.command(start(), 1.0)
    assert ended(AgentState.from_json(state.to_json())).preflight_failed
    state.fenced(["att-1"], 1.0)
    assert not ended(state).preflight_failed


def test_a_crash_on_an_error_of_cuda_is_told_before_the_end_of_the_attempt(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {})
    machine.node._runs["att-1"] = None  # type: ignore[assignment]  # it runs, as far as the node knows
    line = "RuntimeError: CUDA error: unspecified launch failure"
    machine.node._hear(Stopped("att-1", "failed", 1, last_lines=(line,)))
    first, last = machine.told
    assert isinstance(first, Found)
    assert (first.check, first.code, first.attempt_id) == ("crash", "cuda:launch-failure", "att-1")
    assert isinstance(last, Stopped)
