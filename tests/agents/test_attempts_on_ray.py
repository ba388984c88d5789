"""Agents as processes, attempts on real Ray: from the command to the report, through deaths in between."""

import io
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from godwit.domain.wire.agents import StopAttempt

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(900)]

PROGRAM = """
from pathlib import Path
from godwit.sdk import checkpoint, job

print("going on from", checkpoint.latest(), flush=True)
job.report(7, 10, loss=0.5)
checkpoint.save(7, lambda folder: (folder / "state").write_text("seven"))
"""


def packed(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("_py", ".py"))
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(name="eventually_gone")
def _eventually_gone(eventually: Callable[..., Any]) -> Callable[[Any], None]:
    return lambda machine: eventually(lambda: not machine.processes(), 15, f"still running: {machine.processes()}")


def test_a_job_runs_in_its_workdir_reports_commits_and_leaves_nothing_and_the_next_attempt_goes_on_from_there(
    plane: Any,
    machines: Callable[..., Any],
    starts: Callable[..., Any],
    eventually: Callable[..., Any],
    eventually_gone: Callable[[Any], None],
    tmp_path: Path,
) -> None:
    first, second = machines(2)
    archive, over = packed(program_py=PROGRAM), tmp_path / "over"
    # Another attempt at the same time on the same host: the two clusters must not meet.
    waits = f"while [ ! -e {over} ]; do sleep 0.2; done; echo over"
    plane.order(second.name, *starts([second], waits, epoch=9, job_id="job-2"))
    eventually(lambda: plane.seen(second.name, "attempt-running"), 240, "the other runs")
    plane.order(first.name, *starts([first], "python program.py", epoch=1, archive=archive))
    end = eventually(lambda: plane.end_of(first.name), 240, "end")
    assert (end.outcome, end.exit_code) == ("succeeded", 0), end
    assert plane.text("att-1") == "going on from None\n"
    (progress,) = plane.seen(first.name, "job-progress")
    assert (progress.step, progress.total_steps, progress.metrics) == (7, 10, {"loss": 0.5})
    (committed,) = plane.seen(first.name, "checkpoint-committed")
    assert (committed.step, committed.size_bytes, committed.files) == (7, 5, 1)
    kinds = [o.type for o in plane.nodes[first.name].observations]
    assert kinds[:3] == ["command-done", "checkpoint-restored", "attempt-running"]
    assert kinds[-1] == "attempt-stopped"
    eventually_gone(first)
    eventually(lambda: not list((first.folder / "attempts").iterdir()), 10, "its folder is removed")

    over.touch()
    other = eventually(lambda: plane.end_of(second.name, "att-9"), 240, "end of the other")
    assert (other.outcome, other.detail) == ("succeeded", "exit code 0")
    assert plane.text("att-9") == "over\n"
    plane.order(second.name, *starts([second], "python program.py", epoch=2, archive=archive, setup="echo set-up"))
    eventually(lambda: plane.end_of(second.name, "att-2"), 240, "end of the next attempt")
    (restored,) = [o for o in plane.seen(second.name, "checkpoint-restored") if o.epoch == 2]
    assert (restored.step, restored.from_epoch, restored.manifest_url) == (7, 1, committed.manifest_url)
    lines = plane.text("att-2").splitlines()
    assert lines[:2] == ["[godwit] restored checkpoint step 7 of epoch 1", "set-up"]
    assert lines[2].endswith("/checkpoints/checkpoint-7")


def test_two_nodes_form_one_cluster_and_a_failing_program_is_reported_with_its_last_lines(
    plane: Any,
    machines: Callable[..., Any],
    starts: Callable[..., Any],
    eventually: Callable[..., Any],
    eventually_gone: Callable[[Any], None],
) -> None:
    gang = machines(2)
    script = "import ray; ray.init(log_to_driver=False); print('gpus', ray.cluster_resources()['GPU'])"
    run = f"echo rank $NODE_RANK of $NUM_NODES; python -c \"{script}\"; echo 'out of luck' >&2; exit 3"
    for machine, command in zip(gang, starts(gang, run), strict=True):
        plane.order(machine.name, command)
    end = eventually(lambda: plane.end_of("node-0"), 240, "end")
    assert (end.outcome, end.exit_code, end.detail) == ("failed", 3, "exit code 3")
    assert end.last_lines[0] == "rank 0 of 2"
    assert end.last_lines[-2:] == ["gpus 2.0", "out of luck"]
    assert not plane.end_of("node-1")
    stop = StopAttempt(
        intent_id="stop-1", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=0, reason="the attempt is over"
    )
    plane.order("node-1", stop)
    assert eventually(lambda: plane.end_of("node-1"), 20, "end of the worker").outcome == "cancelled"
    for machine in gang:
        eventually_gone(machine)


def test_an_agent_killed_and_started_again_finds_its_attempt_and_a_lease_ends_it_though_the_agent_is_frozen(
    plane: Any,
    machines: Callable[..., Any],
    starts: Callable[..., Any],
    eventually: Callable[..., Any],
    eventually_gone: Callable[[Any], None],
) -> None:
    (machine,) = machines()
    plane.order(machine.name, *starts([machine], "while :; do date +%s%N; sleep 0.2; done"))
    eventually(lambda: plane.seen(machine.name, "attempt-running"), 240, "running")
    pid = int((machine.folder / "attempts" / "att-1" / "run" / "program.pid").read_text())

    machine.kill_agent()
    heard = len(plane.text("att-1"))
    machine.boot()
    eventually(lambda: len(plane.text("att-1")) > heard + 100, 20, "output after the restart")
    numbers = [int(line) for line in plane.text("att-1").splitlines()[:-1]]
    assert numbers == sorted(set(numbers)), "no output was lost, repeated or mixed up"
    assert psutil.pid_exists(pid), "the program never noticed"
    assert plane.nodes[machine.name].live == ["att-1"]
    assert len(plane.seen(machine.name, "attempt-running")) == 1

    machine.process.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    eventually(lambda: not psutil.pid_exists(pid), 40, "the guard kept the lease")
    assert time.monotonic() - frozen_at > 10, "it was not killed before its time"
    machine.process.send_signal(signal.SIGCONT)
    end = eventually(lambda: plane.end_of(machine.name), 20, "end")
    assert end.outcome == "interrupted"
    assert "lease ran out" in end.detail
    eventually_gone(machine)


def test_a_program_that_is_told_to_stop_may_save_first(
    plane: Any,
    machines: Callable[..., Any],
    starts: Callable[..., Any],
    eventually: Callable[..., Any],
    eventually_gone: Callable[[Any], None],
) -> None:
    (machine,) = machines()
    run = "trap 'echo saving; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    plane.order(machine.name, *starts([machine], run))
    eventually(lambda: "ready" in plane.text("att-1"), 240, "output")
    stop = StopAttempt(
        intent_id="s", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=20, reason="cancelled by ann"
    )
    plane.order(machine.name, stop)
    end = eventually(lambda: plane.end_of(machine.name), 15, "end")
    assert plane.text("att-1").splitlines()[-1] == "saving"
    assert (end.outcome, end.exit_code, end.detail) == ("cancelled", None, "cancelled by ann"), "0 is no success here"
    eventually_gone(machine)
    plane.dismiss = True
    assert eventually(lambda: machine.process.poll() is not None, 10, "the agent leaves")
    assert machine.process.returncode == 0, "told to go for good"


def test_folders_are_short_enough_for_ray() -> None:
    assert len(str(Path("/tmp/gw-ab12/3/123456/session_2026-11-20_22-17-45_581694_1234567/sockets/plasma_store"))) < 107
