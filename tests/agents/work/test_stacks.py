"""What the processes of a job that hangs are doing."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from godwit.agents.checks.work import stacks
from godwit.agents.checks.work.stacks import Stack, Target
from godwit.agents.checks.work.watch import Watched, WorkWatch
from godwit.agents.effects import Found
from godwit.domain.health import Grade, Remedy

PROGRAM = """
import os, pathlib, time
def all_reduce():
    pathlib.Path(os.environ["READY"]).touch()
    time.sleep(1000)
def backward():
    (load if os.environ["RANK"] == "1" else all_reduce)()
def load():
    pathlib.Path(os.environ["READY"]).touch()
    time.sleep(1000)
backward()
"""


@pytest.fixture
def gang(tmp_path: Path) -> Iterator[Path]:
    """Three ranks that stand still, one of them elsewhere than the others; the run folder of their attempt."""
    run, script = tmp_path / "run", tmp_path / "train.py"
    run.mkdir()
    script.write_text(PROGRAM)
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, "GODWIT_RUN_DIR": str(run), "RANK": str(rank), "READY": str(tmp_path / f"ready{rank}")},
        )
        for rank in range(3)
    ]
    eventually(lambda: len(list(tmp_path.glob("ready*"))) == 3)
    yield run
    for rank in ranks:
        rank.kill()
        rank.wait()


def eventually(true: Callable[[], object], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told_of(run: Path, found: list[Found], **more: Any) -> WorkWatch:
    fields: dict[str, Any] = {"started": lambda: True, "goes_on": lambda: True, "hang_after_s": 0.05, **more}
    watched = Watched("att-1", run, None, lambda: ["GPU-0", "GPU-1", "GPU-2"], **fields)
    return WorkWatch(watched, found.append, look_s=0.02, still_s=0.02)


def test_a_hang_is_told_with_the_stacks_of_all_ranks_in_groups_and_the_odd_one_named(gang: Path) -> None:
    found: list[Found] = []
    one = told_of(gang, found)
    one.start()
    try:
        eventually(lambda: found)
        (gang / "progress.jsonl").write_text('{"at": 0, "step": 1}\n')
        eventually(lambda: len(found) > 1)
    finally:
        one.close()
    hang, over = found[:2]
    assert (hang.check, hang.grade, hang.suggested, hang.attempt_id) == (
        "hang", Grade.UNHEALTHY, Remedy.RESTART_JOB, "att-1",
    )  # fmt: skip
    assert hang.evidence["processes"] == 3
    assert (over.check, over.grade) == ("hang", Grade.HEALTHY)
    if hang.evidence["groups"] == 2:  # who may not trace, as in a strict container, has one group of no stacks
        assert hang.evidence["odd"] == "rank 1"
        assert "load (train.py:" in str(hang.evidence["stack1"])
        assert str(hang.evidence["stack2"]).startswith("rank 0, rank 2: all_reduce (train.py:")


def test_py_spy_reads_the_stack_of_a_process_of_our_own(gang: Path) -> None:
    found = stacks.collect(stacks.targets(gang))
    if any("ermission" in stack.problem for stack in found):
        pytest.skip("this machine lets nobody trace")
    assert [stack.target.name for stack in found] == ["rank 0", "rank 1", "rank 2"]

    def functions() -> list[str]:
        return [stack.text.split(" (")[0] for stack in stacks.collect(stacks.targets(gang))]

    eventually(lambda: functions() == ["all_reduce", "load", "all_reduce"])  # it may be seen while it says "ready"


def test_a_process_that_cannot_be_read_is_told_by_what_the_kernel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_spy", lambda: None)
    (stack,) = stacks.collect([Target(os.getpid(), "rank 0")])
    assert "py-spy is not installed; it is " in stack.text


def silent(run: Path, found: list[Found], stills: list[bool | None], monkeypatch: pytest.MonkeyPatch) -> WorkWatch:
    """A watch of a job that is silent since its sixth step; whether it stands still is as told."""
    monkeypatch.setattr(stacks, "targets", lambda _run: [Target(1, "rank 0")])
    monkeypatch.setattr(stacks, "collect", lambda whom: [Stack(whom[0], ("f (x.py:1)",))])
    monkeypatch.setattr(WorkWatch, "_is_still", lambda *_args: stills.pop(0))
    one = told_of(run, found, hang_after_s=None)
    then = time.time() - 100.0
    lines = [f'{{"at": {then + step}, "step": {step}}}\n' for step in range(6)]
    (run / "progress.jsonl").write_text("".join(lines))
    return one


def test_a_silent_job_that_is_busy_is_left_alone_and_told_of_when_it_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Found] = []
    one = silent(tmp_path, found, [False, None, False, False], monkeypatch)
    for look in range(4):
        assert found == [], look
        one._look()
        one._patient_until = 0.0
    assert [(told.check, told.grade) for told in found] == [("silence", Grade.DEGRADED)]
    one._look()
    assert len(found) == 1


def test_a_silent_job_that_stands_still_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Found] = []
    silent(tmp_path, found, [True], monkeypatch)._look()
    assert [(told.check, told.suggested) for told in found] == [("hang", Remedy.RESTART_JOB)]
    assert found[0].evidence["stack1"] == "rank 0: f (x.py:1)"


def test_a_job_that_was_told_to_stop_or_has_no_process_left_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Found] = []
    one = told_of(tmp_path, found, goes_on=lambda: False)
    one._look()
    one = told_of(tmp_path, found, hang_after_s=0.0001)
    monkeypatch.setattr(stacks, "targets", lambda _run: [])
    one._look()
    time.sleep(0.001)
    one._look()
    assert found == []


def test_losses_and_stragglers_are_told_as_they_come(tmp_path: Path) -> None:
    found: list[Found] = []
    one = told_of(tmp_path, found, hang_after_s=0.0)
    with (tmp_path / "progress.jsonl").open("w") as file:
        for step, rank in itertools.product(range(80), range(4)):
            took = {"compute_s": 1.2 if rank == 2 else 1.0}
            file.write(json.dumps({"at": 1, "step": step, "rank": rank, "local_rank": rank, "metrics": took}) + "\n")
        file.write('{"at": 1, "step": 65, "metrics": {"loss": NaN}}\n')
    one._look()
    assert [(told.check, told.code, told.gpu) for told in found] == [
        ("loss", "loss:nan", None), ("straggler", "straggler:2", "GPU-2"),
    ]  # fmt: skip
    assert found[1].evidence == {"rank": 2, "lag": 0.2, "windows": 3}
    assert {told.attempt_id for told in found} == {"att-1"}


def thread(pid: int, tid: int, *files: str) -> dict[str, Any]:
    frames = [{"name": f"f{n}", "filename": file, "short_filename": file, "line": n} for n, file in enumerate(files)]
    return {"pid": pid, "os_thread_id": tid, "frames": frames}


def test_the_thread_that_counts_is_the_one_in_the_programs_own_code() -> None:
    library = "/venv/lib/python3.11/site-packages/ray/x.py"
    assert stacks.frames_of([thread(1, 2, library), thread(1, 1, library, "train.py")])[1] == "f1 (train.py:1)"
    assert stacks.frames_of([thread(1, 1, library), thread(1, 2, "train.py")]) == ("f0 (train.py:0)",)
    assert stacks.frames_of([thread(1, 2, library, library), thread(1, 1, library)]) == (f"f0 ({library}:0)",)
    assert stacks.frames_of([]) == ()


def test_the_smallest_group_comes_first_and_who_is_unlike_most_of_its_kind_is_odd() -> None:
    def stack(rank: int, *frames: str) -> Stack:
        return Stack(Target(rank, f"rank {rank}", "rank"), frames)

    told = stacks.evidence([stack(0, "a"), stack(1, "b"), stack(2, "a")])
    assert (told["odd"], told["stack1"], told["stack2"]) == ("rank 1", "rank 1: b", "rank 0, rank 2: a")
    driver = Stack(Target(9, "process 9 (train.py)"), ("wait",))
    assert "odd" not in stacks.evidence([driver, stack(0, "a"), stack(1, "a"), stack(2, "a")])
    assert "odd" not in stacks.evidence([stack(0, "a"), stack(1, "b")])
    assert "odd" not in stacks.evidence([stack(0, "a"), stack(1, "a")])
    assert len(stacks.evidence([stack(n, f"f{n}" * 3_000) for n in range(64)])) <= 32


@pytest.mark.parametrize(
    ("command", "above", "is_other"),
    [
        ("ray::IDLE", ["/x/ray/raylet/raylet", "--agent=python /x/ray/dashboard/agent.py"], True),
        ("ray::W.step", ["/x/python3.11/ray/raylet/raylet", "--agent=python /x/ray/dashboard/agent.py"], False),
        ("python -m ray.util.client.server", [], True),
        ("python -c from multiprocessing.forkserver", ["python", "/x/ray/dashboard/dashboard.py"], True),
        ("python -c from multiprocessing.forkserver", ["python", "train.py"], False),
        ("python train.py", ["sh", "run.sh"], False),
        ("python -I -S /x/godwit/agents/runtime/guard.py /node/attempts/att-1", ["python"], True),
    ],
)
def test_rays_own_processes_are_not_the_program(command: str, above: list[str], is_other: bool) -> None:
    parent = SimpleNamespace(cmdline=lambda: above)
    assert stacks._is_other(command, parent) is is_other  # type: ignore[arg-type]
