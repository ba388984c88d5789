"""Fire drills of a program: its processes are slowed or stopped, and what is found is what a real one would show.

One job of four ranks on a real Ray lives through a loss that is no number, a hang and a straggler. The last rank sets
the pace, the others wait for it, as ranks wait for one another in a collective operation.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.conftest import wait_for
from tests.end_to_end.drilled_fleet import PATIENCE_S, Fleet, started

pytestmark = [
    pytest.mark.drills, pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1_800),
]  # fmt: skip

# A spare waits: a straggler is not swapped for a machine that would have to be bought.
CONFIG = """
providers: [{kind: simulated, name: sim-cascade}]
fleet: {max_nodes: 4, idle_s: 3600, warm: [{gpus: H100:4, count: 1}]}
health: {breaker_share: 1, breaker_most: 1}
"""

JOB = """
name: ranks
run: exec python -u FOLDER/launch.py
resources: {gpus: H100:4}
preflight: never
hang_after: 25s
"""

LAUNCH = """
import os, pathlib, subprocess, sys
train, last = str(pathlib.Path(__file__).with_name("train.py")), 3
pipes = [os.pipe() for _ in range(last)]
started = []
for rank in range(last + 1):
    own = [write for _, write in pipes] if rank == last else [pipes[rank][0]]
    named = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    command = [sys.executable, "-u", train, *map(str, own)]
    started.append(subprocess.Popen(command, env={**os.environ, **named}, pass_fds=own))
for pipe in pipes:
    os.close(pipe[0]), os.close(pipe[1])
sys.exit(max(one.wait() for one in started))
"""

TRAIN = """
import os, pathlib, sys, time
from godwit.sdk import job
rank, pipes = int(os.environ["RANK"]), list(map(int, sys.argv[1:]))
checkpoints, restored = pathlib.Path(os.environ["GODWIT_CHECKPOINT_DIR"]), os.environ.get("GODWIT_RESTORED_CHECKPOINT")
step = int(pathlib.Path(restored).read_text()) if restored else 0

def compute():
    time.sleep(0.15)

def wait_for_the_last():
    os.read(pipes[0], 1) or sys.exit(1)

while True:
    step += 1
    began = time.monotonic()
    compute()
    took = time.monotonic() - began
    if rank == 3:
        [os.write(pipe, b".") for pipe in pipes]
    else:
        wait_for_the_last()
    job.report(step, loss=0.5, compute_s=took)
    if rank == 0 and step % 8 == 0:
        (checkpoints / ".new").write_text(str(step))
        (checkpoints / ".new").rename(checkpoints / f"step-{step}")
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A job on one simulated cloud, and a spare; everything ends with the test."""
    (tmp_path / "launch.py").write_text(LAUNCH)
    (tmp_path / "train.py").write_text(TRAIN)
    with started(tmp_path / "home", CONFIG) as system:
        fleet = Fleet(system, tmp_path)
        fleet.submit("ranks", JOB.replace("FOLDER", str(tmp_path)))
        wait_for("the first steps", PATIENCE_S, partial(fleet.goes_on, "ranks"))
        yield fleet


def test_what_befalls_a_program_leads_to_what_it_calls_for(fleet: Fleet) -> None:
    _a_loss_that_is_no_number_is_noted(fleet)
    _a_hang_is_started_again_where_it_was(fleet)
    _a_straggler_is_swapped_for_the_spare(fleet)


def _a_loss_that_is_no_number_is_noted(fleet: Fleet) -> None:
    node, epoch = fleet.node_of("ranks"), fleet.job("ranks")["epoch"]
    fleet.drill("loss-nan", "ranks")
    wait_for("the decision about the loss", PATIENCE_S, partial(fleet.decided, node, "loss:nan"))
    assert (fleet.job("ranks")["state"], fleet.job("ranks")["epoch"]) == ("running", epoch)
    assert fleet.incidents(node) == []


def _a_hang_is_started_again_where_it_was(fleet: Fleet) -> None:
    node, epoch = fleet.node_of("ranks"), fleet.job("ranks")["epoch"]
    fleet.drill("hang", "ranks")
    wait_for("the next attempt", PATIENCE_S, partial(fleet.goes_on, "ranks", epoch))
    wait_for("the end of the hang", PATIENCE_S, partial(fleet.is_over, node))
    (incident,) = fleet.incidents(node)
    assert (incident["code"], incident["remedy"], incident["gpus"]) == ("hang", "restart_job", [])
    (finding,) = fleet.findings(incident["id"])
    told = finding["evidence"]
    assert told["processes"] >= 4
    if "Python stack" not in told["stack1"]:  # who may not trace, as in a strict container, has no stacks
        assert told["odd"] == "rank 3"
        assert any("wait_for_the_last" in str(text) for text in told.values())
    assert fleet.node_of("ranks") == node
    assert fleet.restored_from("ranks")[0] >= 8
    fleet.print_detection(node)


def _a_straggler_is_swapped_for_the_spare(fleet: Fleet) -> None:
    node, epoch = fleet.node_of("ranks"), fleet.job("ranks")["epoch"]
    before = {incident["id"] for incident in fleet.incidents(node)}
    fleet.drill("straggler", "ranks:3")
    wait_for("the swap", PATIENCE_S, partial(fleet.goes_on, "ranks", epoch))
    wait_for("the node's return", PATIENCE_S, partial(fleet.is_over, node))
    (incident,) = [one for one in fleet.incidents(node) if one["id"] not in before]
    assert (incident["code"], incident["remedy"], incident["rule"]) == ("straggler:3", "none", "straggler")
    assert len(incident["gpus"]) == 1
    assert fleet.node_of("ranks") != node
    assert fleet.outcome("ranks", epoch) == "evicted"
    fleet.print_detection(node)
