"""Saving states while the program goes on, when it is time, and once more when it is asked to stop."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from godwit.sdk import checkpoint, job, sharded, states
from godwit.sdk.pacing import Pace, Verdict


def notes(run: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((run / "saves").glob("*.json"))]


def test_a_state_of_pytorch_comes_back_and_the_agent_is_told(in_job: Path) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    saved = checkpoint.save(40, {"model": model, "optimizer": optimizer, "step": 40})
    checkpoint.wait()
    state = checkpoint.load()
    assert checkpoint.latest() == saved
    assert state["step"] == 40
    assert torch.equal(state["model"]["weight"], model.weight)
    assert state["optimizer"]["param_groups"][0]["params"] == [0, 1]
    (note,) = notes(in_job)
    assert (note["step"], note["entry"], note["parts"]) == (40, "checkpoint-40", 1)
    assert 0 <= note["stall_s"] <= note["write_s"]


def test_what_is_saved_is_the_state_of_the_moment_whatever_the_program_does_next(
    in_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, write = threading.Event(), states.write

    def late(state: Any, folder: Path) -> None:
        assert going_on.wait(30)
        write(state, folder)

    monkeypatch.setattr(states, "write", late)
    tensor, listed = torch.zeros(3), [1]
    checkpoint.save(1, {"tensor": tensor, "listed": listed})
    tensor += 5
    listed.append(2)
    going_on.set()
    checkpoint.wait()
    state = checkpoint.load()
    assert state["tensor"].tolist() == [0, 0, 0]
    assert state["listed"] == [1]


class Pair(NamedTuple):
    left: Any
    right: Any


def test_copies_keep_the_shape_of_a_state() -> None:
    state = {"pair": Pair(torch.ones(1), [(1, "x")]), "none": None, "model": torch.nn.Linear(1, 1)}
    copy = states.copied(state)
    assert isinstance(copy["pair"], Pair)
    assert copy["pair"].right == [(1, "x")]
    assert copy["pair"].left is not state["pair"].left
    assert sorted(copy["model"]) == ["bias", "weight"]


def test_a_write_that_fails_behind_the_programs_back_comes_out_of_the_next_save(in_job: Path) -> None:
    checkpoint.save(1, {"cannot be written": threading.Lock}, background=True)
    checkpoint.wait()
    unwritable = type("Unwritable", (), {"__reduce__": lambda _self: 1 / 0, "__deepcopy__": lambda self, _memo: self})
    checkpoint.save(2, {"x": unwritable()})
    with pytest.raises(ZeroDivisionError):
        checkpoint.save(3, {"x": 1})
    assert [path.name for path in checkpoint.directory().iterdir()] == ["checkpoint-1"]
    checkpoint.save(4, {"x": 1}, background=False)
    assert checkpoint.load()["x"] == 1


def test_a_program_without_pytorch_gets_its_state_back_and_its_end_waits_for_the_write(tmp_path: Path) -> None:
    code = "from godwit.sdk import checkpoint; {}"
    env = {**os.environ, "GODWIT_CHECKPOINT_DIR": str(tmp_path)}
    save = code.format("checkpoint.save(3, {'a': [1, (2, 3)]})")
    subprocess.run([sys.executable, "-c", save], env=env, check=True)
    load = code.format("import sys; print(checkpoint.load(), 'torch' in sys.modules)")
    shown = subprocess.run([sys.executable, "-c", load], env=env, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "{'a': [1, (2, 3)]} False"


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_save_is_due_once_the_interval_is_over_since_the_last(in_job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_CHECKPOINT_INTERVAL_S", "100")
    clock = Clock()
    pace = Pace(clock, lambda: False)
    due = []
    for step in range(1, 36):
        clock.now = step * 10.0
        if pace.due(step):
            due.append(step)
            clock.now += 5
            pace.saved()
    assert due == [10, 21, 32]


def test_the_agent_may_change_the_interval_while_the_program_runs(in_job: Path) -> None:
    clock = Clock()
    pace = Pace(clock, lambda: False)
    assert pace.interval_s == 600
    (in_job / "cadence.json").write_text('{"interval_s": 30.0}')
    clock.now = 2.0
    assert pace.interval_s == 30
    (in_job / "cadence.json").write_text("nonsense")
    clock.now = 4.0
    assert pace.interval_s == 600


def test_asked_to_stop_it_is_due_once_more_and_not_again(in_job: Path) -> None:
    asked: list[bool] = []
    pace = Pace(Clock(), lambda: bool(asked))
    assert not pace.due(1)
    asked.append(True)
    assert [pace.due(2), pace.due(3)] == [True, False]


def test_all_processes_save_and_stop_at_the_same_step_and_seldom_ask(
    in_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODWIT_CHECKPOINT_INTERVAL_S", "100")
    clock, asked = Clock(), list[int]()
    fast = Pace(lambda: clock.now * 1.7, lambda: False)  # what it believes of time and notices does not count
    paces = [Pace(clock, lambda: clock.now >= 300), fast]
    said: list[Verdict] = []

    def lead(verdict: Verdict) -> Verdict:
        asked.append(1)
        said.append(verdict)
        return verdict

    history: list[list[tuple[int, bool, bool | None]]] = [[], []]
    for step in range(3_200):
        clock.now = step * 0.1
        for rank, agree in enumerate((lead, lambda _own: said[-1])):
            history[rank].append((step, paces[rank].due(step, agree), paces[rank].told_to_stop))
    assert history[0] == history[1]
    due = [step for step, saves, _ in history[0] if saves]
    assert [round(step / 1000, 1) for step in due] == [1.0, 2.0, 3.0]
    assert history[0][-1][2], "all of them know that they should stop"
    assert len(asked) < 3_200 / 5


def test_should_stop_hears_the_note_and_on_notice_is_called_once(in_job: Path) -> None:
    heard = threading.Event()
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        heard.set()

    job.on_notice(act)
    assert not job.should_stop()
    assert not checkpoint.should_stop()
    (in_job / "notice").write_text("{}")
    assert heard.wait(30)
    assert calls == [1]
    assert job.should_stop()
    assert checkpoint.due(1)


def test_outside_of_godwit_nobody_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GODWIT_RUN_DIR", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    job.on_notice(lambda: None)
    assert not job.should_stop()
    assert signal.getsignal(signal.SIGTERM) == before


PROGRAM = """
import os, signal, sys, time
from godwit.sdk import checkpoint
print("ready", flush=True)
step = 0
while not checkpoint.should_stop():
    step += 1
    time.sleep(0.01)
if checkpoint.due(step):
    checkpoint.save(step, {"step": step})
"""


def test_at_sigterm_a_program_that_asks_saves_and_ends_well(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    env = {**os.environ, "GODWIT_RUN_DIR": str(tmp_path / "run"), "GODWIT_CHECKPOINT_DIR": str(tmp_path / "saved")}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # It may be a moment until it asks for the first time: then, as outside of godwit, the signal would end it.
        while not _catches_sigterm(process.pid):
            assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0
    (saved,) = (tmp_path / "saved").iterdir()
    assert states.read(saved)["step"] >= 1


def _catches_sigterm(pid: int) -> bool:
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_file_or_folder_from_elsewhere_is_taken_in_without_copying(in_job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "output" / "checkpoint-7"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "model").write_text("weights")
    saved = checkpoint.take_in(7, folder)
    assert (saved / "deep" / "model").samefile(folder / "deep" / "model")
    assert [note["step"] for note in notes(in_job)] == [7]


def test_states_in_shards_are_saved_and_loaded_by_pytorchs_own_means(in_job: Path, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        assert not sharded.load({"weight": torch.zeros(4)})
        sharded.save(12, {"weight": torch.arange(4.0)})
        state = {"weight": torch.zeros(4)}
        assert sharded.load(state)
        assert state["weight"].tolist() == [0, 1, 2, 3]
        assert checkpoint.due(1) is False
    finally:
        torch.distributed.destroy_process_group()
    assert [(note["step"], note["parts"]) for note in notes(in_job)] == [(12, 1)]
