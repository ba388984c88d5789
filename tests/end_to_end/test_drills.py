"""Fire drills on a fleet of real processes: each fault leads to what it calls for, and to nothing where nothing is due.

Three jobs, each on a machine of its own with a real Ray, live through all of them. How soon each fault was found, and
how soon its GPU was out of placement, is printed.
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

# The breaker would be right: a third of this fleet is drilled at once.
CONFIG = """
providers: [{kind: simulated, name: sim-aurora}]
fleet: {max_nodes: 6}
health: {breaker_share: 1, breaker_most: 1}
"""

JOB = """
name: NAME
run: exec python -u FOLDER/count.py NAME
resources: {gpus: H100:1}
preflight: never
hang_after: HANG
"""

COUNT = """
import os, pathlib, sys, time
name, folder = sys.argv[1], pathlib.Path(__file__).parent
checkpoints, restored = pathlib.Path(os.environ["GODWIT_CHECKPOINT_DIR"]), os.environ.get("GODWIT_RESTORED_CHECKPOINT")
step = int(pathlib.Path(restored).read_text()) if restored else 0
print("began at", step)

def told_to(what):
    flag = folder / f"{what}-{name}"
    return flag.exists() and (flag.unlink() or True)

while True:
    step += 1
    print(f"step={step} loss={'nan' if told_to('nan') else 0.5}")
    (checkpoints / ".new").write_text(str(step))
    (checkpoints / ".new").rename(checkpoints / f"step-{step}")
    if told_to("hang"):
        time.sleep(600)
    time.sleep(1)
"""
"""Counts, and saves each step; a file beside it makes it do something wrong, once."""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Jobs on one simulated cloud; everything ends with the test."""
    (tmp_path / "count.py").write_text(COUNT)
    with started(tmp_path / "home", CONFIG) as system:
        yield Fleet(system, tmp_path)


def test_every_fault_leads_to_what_it_calls_for_and_to_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    folder = str(tmp_path)
    for name, hang_after in (("lost", "off"), ("linked", "off"), ("mapped", "25s")):
        text = JOB.replace("NAME", name).replace("FOLDER", folder).replace("HANG", hang_after)
        fleet.submit(name, text)  # one by one: Ray gives a node half a minute to start
        wait_for(f"the first step of {name}", PATIENCE_S, partial(fleet.goes_on, name))
    nodes = {name: fleet.node_of(name) for name in ("lost", "linked", "mapped")}
    _nothing_is_done(fleet, nodes, tmp_path)
    _each_goes_on(fleet, nodes, tmp_path)
    _what_cannot_be_repaired_is_given_back(fleet)
    for node in nodes.values():
        fleet.print_detection(node)


def _nothing_is_done(fleet: Fleet, nodes: dict[str, str], folder: Path) -> None:
    """A program's mistake, heat, a loss that is no number and a dead agent end no attempt."""
    epochs = {name: fleet.job(name)["epoch"] for name in nodes}
    fleet.drill("xid-13", f"{nodes['lost']}:0")
    fleet.drill("thermal", f"{nodes['linked']}:0")
    (folder / "nan-lost").touch()
    for name, code in (("lost", "xid:13"), ("linked", "temperature"), ("lost", "loss")):
        wait_for(f"the decision about {code}", PATIENCE_S, partial(fleet.decided, nodes[name], code))
    fleet.drill("agent-loss", nodes["linked"])
    wait_for("the agent that was killed", PATIENCE_S, partial(fleet.is_heard_again, nodes["linked"]))
    for name, node in nodes.items():
        assert (fleet.job(name)["state"], fleet.job(name)["epoch"]) == ("running", epochs[name])
        assert fleet.incidents(node) == []


def _each_goes_on(fleet: Fleet, nodes: dict[str, str], folder: Path) -> None:
    """A lost GPU and a fatal NVLink are left for another machine; a job that hangs is started again where it was."""
    epochs = {name: fleet.job(name)["epoch"] for name in nodes}
    (folder / "hang-mapped").touch()
    fleet.drill("gpu-lost", "lost:0")
    fleet.drill("nvlink-fatal", f"{nodes['linked']}:0")
    for name, epoch in epochs.items():
        wait_for(f"{name} to go on", PATIENCE_S, partial(fleet.goes_on, name, epoch))
        restored, saved = fleet.restored_from(name)
        print(f"{name}: went on from step {restored}; the newest that was told as saved is {saved}")
        assert restored >= 1
        assert fleet.outcome(name, epoch) == "evicted"
    _was_done(fleet, "lost", nodes["lost"], {"xid:79", "gpu:lost"}, "reboot")
    _was_done(fleet, "linked", nodes["linked"], {"xid:74", "nvlink:down"}, "reset_gpu")
    _was_done(fleet, "mapped", nodes["mapped"], {"hang"}, "restart_job")


def _what_cannot_be_repaired_is_given_back(fleet: Fleet) -> None:
    """Memory whose rows cannot be remapped any more is a case for the vendor: the machine goes, the job goes on."""
    node, epoch = fleet.node_of("mapped"), fleet.job("mapped")["epoch"]
    fleet.drill("row-remap-failure", f"{node}:0")
    wait_for("the incident's end", PATIENCE_S, lambda: fleet.is_over(node) and fleet.job("mapped")["epoch"] > epoch)
    codes = {"xid:48", "xid:64", "row-remap:failure", "ecc:uncorrected"}
    _was_done(fleet, "mapped", node, codes, "contact_support")
    assert fleet.node_of("mapped") != node


def _was_done(fleet: Fleet, name: str, node: str, codes: set[str], remedy: str) -> None:
    wait_for(f"the end of what is wrong with {name}", PATIENCE_S, partial(fleet.is_over, node))
    incident = fleet.incidents(node)[0]
    assert incident["code"] in codes
    assert (incident["remedy"], incident["jobs"]) == (remedy, [fleet.job(name)["id"]])
