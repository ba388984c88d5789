"""How hard a node's GPUs work, as it is told to the control plane."""

from pathlib import Path

from godwit.agents.accelerators.fake_nvml import FakeNvml
from godwit.agents.accelerators.profiles import LISTED
from godwit.agents.checks.gpu.poller import Reader
from godwit.agents.core import Core
from godwit.agents.effects import Running, Runs
from godwit.agents.metrics.loads import FAKE_BUSY, LoadWatch, of_driver, of_paper
from godwit.agents.state import AgentState
from godwit.domain.wire.agents import GpuFact, Peer, StartAttempt
from godwit.domain.wire.loads import GpuLoad
from pydantic import TypeAdapter

GPUS = [GpuFact(index=i, uuid=f"GPU-{i}", model="H100-80GB", memory_gib=80) for i in range(2)]


def start(attempt_id: str = "a1", gpus: tuple[int, ...] = (0,), rank: int = 0, **more: object) -> StartAttempt:
    fields: dict[str, object] = {
        "intent_id": f"start-{attempt_id}", "job_id": f"job-{attempt_id}", "job_name": "train", "epoch": 1,
        "attempt_id": attempt_id, "rank": rank, "peers": [Peer(rank=0, node_id="n", address="127.0.0.1")],
        "gpus": list(gpus), "port": 20_000, "ray_token": "t", "run": "true", "setup": None, "workdir_digest": None,
        "env": {}, "store": "file:///nowhere",
    }  # fmt: skip
    return StartAttempt.model_validate(fields | more)


def busy(loads: list[GpuLoad]) -> list[float]:
    return [load.busy_percent for load in loads]


def test_a_gpu_on_paper_is_busy_while_a_program_runs_on_it_and_idle_otherwise() -> None:
    at_work, free = of_paper(GPUS, [Runs(start(), is_working=True)])
    assert at_work.busy_percent > 50
    assert at_work.attempt_id == "a1"
    assert at_work.power_watts is not None
    assert free.busy_percent == 0
    assert free.attempt_id is None
    assert free.memory_percent == 0
    assert busy(of_paper(GPUS, [Runs(start(), is_working=False)])) == [0, 0]


def test_a_job_says_how_busy_it_keeps_gpus_on_paper_and_nonsense_counts_as_unsaid() -> None:
    said = {text: of_paper(GPUS, [Runs(start(env={FAKE_BUSY: text}), True)])[0].busy_percent for text in ("0", "37.5")}
    assert said == {"0": 0.0, "37.5": 37.5}
    for text in ("nan", "-1", "101", "much"):
        assert of_paper(GPUS, [Runs(start(env={FAKE_BUSY: text}), True)])[0].busy_percent > 50


def test_a_gpu_that_several_share_is_nobodys_alone() -> None:
    shared = [Runs(start(name, gpu_milli=500), True) for name in ("a1", "a2")]
    assert of_paper(GPUS, shared)[0].attempt_id is None


def test_an_attempt_works_from_when_its_head_is_heard_to_run_until_it_is_stopped(tmp_path: Path) -> None:
    core = Core(AgentState("agent-00000001"), tmp_path, lambda _effect: None)
    core.renewed(1e12, 60.0)
    core.command(start())
    core.command(start("a2", (1,), rank=1))
    assert [one.is_working for one in core.runs()] == [False, True]
    core.apply(lambda state, now: state.runtime(Running("a1"), now))
    assert [one.is_working for one in core.runs()] == [True, True]


def test_the_driver_is_asked_for_loads_alone_and_what_it_does_not_say_is_left_out(tmp_path: Path) -> None:
    (tmp_path / LISTED).write_bytes(TypeAdapter(list[GpuFact]).dump_json(GPUS))
    answer = Reader(FakeNvml(tmp_path)).load()
    assert all(set(entry["values"]) == {"busy", "total_bytes", "used_bytes", "power_mw"} for entry in answer["gpus"])
    first, second = of_driver(answer["gpus"], [Runs(start(gpus=(1,)), True)])
    assert (first.index, first.busy_percent, first.memory_percent, first.attempt_id) == (0, 0.0, 0.0, None)
    assert second.attempt_id == "a1"
    assert second.power_watts is not None
    assert of_driver([{"index": 0, "values": {"power_mw": 70_000}}], []) == []
    assert of_driver([{"index": 0, "values": {"busy": 3}}], []) == [GpuLoad(index=0, busy_percent=3)]


def test_a_reading_is_told_until_it_is_heard_and_then_no_more() -> None:
    watch = LoadWatch(lambda: [GpuLoad(index=0, busy_percent=5)])
    assert watch.untold() is None
    watch.step()
    told = watch.untold()
    assert told is not None
    assert watch.untold() is told
    watch.told(None)
    assert watch.untold() is told
    watch.told(told)
    assert watch.untold() is None


def test_a_node_whose_gpus_say_nothing_tells_nothing() -> None:
    watch = LoadWatch(list)
    watch.step()
    assert watch.untold() is None
