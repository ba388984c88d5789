"""A job that is told to go saves once more; one that is not told loses no more than one interval."""

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.committer import Committer, Tiers, Told
from godwit.agents.checkpoints.pace import Pace as AgentsPace
from godwit.agents.checkpoints.shards import Shards
from godwit.agents.checkpoints.store import Store
from godwit.agents.checkpoints.watch import FolderWatch
from godwit.agents.effects import Committed
from godwit.agents.runtime import guard
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.saving import Saving
from godwit.sdk.pacing import Pace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROUNDS = itertools.count()

PROGRAM = """
import time
from godwit.sdk import checkpoint
step = 0
while not checkpoint.should_stop():
    step += 1
    if step == 1:
        print("ready", flush=True)
    time.sleep(0.005)
checkpoint.save(step, {"step": step, "weights": [0.5] * 1000})
"""


@pytest.mark.parametrize("shell", ["{} {}", "{} {} | cat; echo over"])
def test_a_job_that_is_evicted_with_time_to_save_has_its_last_step_committed(
    tmp_path: Path, eventually: Callable[..., Any], shell: str
) -> None:
    folder, lease = AttemptFolder(tmp_path, "att-1"), tmp_path / "lease"
    folder.make()
    guard.write_whole(lease, f"{guard.boottime_s() + 300} boot")
    (folder.root / "program.py").write_text(PROGRAM)
    (folder.root / "run.sh").write_text(shell.format(sys.executable, folder.root / "program.py"))
    script = f"echo $$ > {folder.run}/program.pid; sh {folder.root}/run.sh; echo $? > {folder.run}/exit_code; sleep 300"
    step = {"name": "ray", "argv": ["sh", "-c", script], "cwd": str(folder.root), "log": str(folder.output)}
    env = {**os.environ, "GODWIT_RUN_DIR": str(folder.run), "GODWIT_CHECKPOINT_DIR": str(folder.checkpoints)}
    custody, committed = Custody(folder, lease), list[Committed]()
    store = Store(f"file://{tmp_path}/store", {})
    committer = Committer(
        Tiers(Store(f"file://{tmp_path}/kept", {}), lambda: store),
        Shards(Author("job-1", "att-1", 1), 0, folder.checkpoints),
        FolderWatch(folder.checkpoints, folder.root / "committed.json"),
        folder.run,
        AgentsPace(Saving(), folder.run),
        Told(committed.append),
    )
    custody.start([step], env)
    try:
        committer.start()
        eventually(lambda: "ready" in folder.output.read_text(), 60)
        custody.stop(60.0)
        assert eventually(custody.ended, 60).cause == "stopped"
    finally:
        custody.stop(0.0)
    assert committer.finish(60, ended_well=folder.program_exit_code() == 0)
    (seen,) = committed
    assert seen.step >= 1
    assert commit.orders(store) == [(1, seen.step)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0.05, 20.0), st.floats(0.0, 30.0), st.floats(60.0, 1_800.0), st.floats(0.0, 1.0))
def test_work_lost_without_a_warning_is_at_most_one_interval_counted_from_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float, stall_s: float, interval_s: float, when: float
) -> None:
    monkeypatch.setenv("GODWIT_CHECKPOINT_INTERVAL_S", str(interval_s))
    store = Store(f"file://{tmp_path}/store-{next(ROUNDS)}", {})
    last_step = run_until_evicted(store, step_s, stall_s, when)
    manifests = [step for _, step in reversed(commit.orders(store))]
    assert len(manifests) >= 3
    # A save begins with the first step that ends after the interval.
    at_most = interval_s + step_s + 1e-6
    assert (last_step - manifests[-1]) * step_s <= at_most
    assert all((later - earlier) * step_s <= at_most for earlier, later in itertools.pairwise(manifests))


def run_until_evicted(store: Store, step_s: float, stall_s: float, when: float) -> int:
    """A job that is ended at some instant of its fifth interval; returns its last step."""
    now, step, entry = 0.0, 0, Path(store.local_path("")).with_suffix(".pt")
    entry.write_text("weights")
    pace = Pace(lambda: now, lambda: False)
    end = (4 + when) * (pace.interval_s + stall_s + step_s)
    while now + step_s <= end:
        now += step_s
        step += 1
        if pace.due(step):
            now += stall_s
            pace.saved()
            commit.commit(store, Author("job-1", "att-1", 1), step, entry, now)
    return step
