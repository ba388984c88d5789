"""The demo: a training job on two nodes of a simulated fleet loses one of them half way, and finishes all the same.

    python examples/digits/demo.py [--keep]

Exits 0 only if each step was seen to happen; otherwise it says which did not. Leaves nothing running, on Ctrl-C too.
"""

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evidence
import stage
from fleet import Fleet, NotShown, first_of, say, wait_for
from stage import FINAL_STATES, GONE_S, Machines, Rows

SPEC = Path(__file__).parent / "job.yaml"
ACCURACY_MIN = 0.95
"""Chance is 0.1; a model that lost its training with the node would be far below."""

HALF_WAY_S = 180.0
"""From submission to half of the steps: buying, Ray's start and the first step take most of it."""

FINISH_S = 240.0


@dataclass
class Seen:
    """What was seen on the way, with our own clock (seconds since the epoch)."""

    job: dict[str, Any] = field(default_factory=dict)
    last_step: int = 0
    epoch: int = 0
    victim: dict[str, Any] = field(default_factory=dict)
    victim_processes: set[evidence.Process] = field(default_factory=set)
    known_before: set[str] = field(default_factory=set)
    killed_at: float = 0.0


def show(fleet: Fleet, spec: Path, machines: Machines) -> Rows:
    """Run the whole story; returns the rows of the summary. Raises `NotShown`."""
    seen = Seen()
    fleet.run("up", "--detach")
    fleet.run("offers", "--gpus", "H100:1", "--on-demand")
    follower = fleet.start("run", str(spec), "-y")
    try:
        to_half_way(fleet, follower, seen)
        kill_a_node(fleet, machines, seen)
        to_the_end(fleet, follower, machines, seen)
    finally:
        if follower.poll() is None:
            follower.send_signal(signal.SIGINT)
    return [*learned(fleet, seen), *recovered(fleet, seen), *paid(fleet, seen)]


def to_half_way(fleet: Fleet, follower: "subprocess.Popen[str]", seen: Seen) -> None:
    """Wait until the job has done half of its steps and has a checkpoint."""

    def submitted() -> str | None:
        if follower.poll() is not None:
            raise NotShown(f"`godwit run` ended with {follower.returncode} before the job was half done")
        items = fleet.get("/jobs")["items"]
        return str(items[0]["id"]) if items else None

    job_id = wait_for("the submission", 30, submitted)

    def half_way() -> bool | None:
        look(fleet, job_id, seen)
        if seen.job["state"] in FINAL_STATES:
            raise NotShown(f"the job {seen.job['state']} before it was half done: {seen.job['detail']}")
        total = (seen.job["progress"] or {}).get("total_steps")
        return True if total and seen.last_step * 2 >= total and seen.job["checkpoints"] else None

    wait_for("half of the training", HALF_WAY_S, half_way)


def look(fleet: Fleet, job_id: str, seen: Seen) -> None:
    """Note how the job stands; and until the attempt after the killed one reports, how far that one came."""
    seen.job = fleet.get(f"/jobs/{job_id}")
    progress = seen.job["progress"]
    if progress is not None and seen.epoch in (0, seen.job["epoch"]):
        seen.last_step = max(seen.last_step, progress["step"])


def kill_a_node(fleet: Fleet, machines: Machines, seen: Seen) -> None:
    """Cut the power of the gang's last node, and see its processes disappear."""
    nodes = {node["id"]: node for node in fleet.get("/nodes")["items"]}
    seen.known_before = set(nodes)
    seen.epoch = seen.job["epoch"]
    seen.victim = nodes[seen.job["attempts"][-1]["slots"][-1]["node_id"]]
    machines.note(fleet)
    seen.victim_processes = evidence.processes_of(seen.victim["address"])
    if not seen.victim_processes:
        raise NotShown(f"node {seen.victim['id']} at {seen.victim['address']} has no process that could be killed")
    say(f"half way: {seen.victim['id']} at {seen.victim['provider']} loses its power")
    print(f"{len(seen.victim_processes)} processes run on it now", flush=True)
    seen.killed_at = time.time()
    fleet.run("drill", "node-loss", seen.victim["id"])

    def gone() -> bool | None:
        if not any(process.is_alive() for process in seen.victim_processes):
            return True
        seen.killed_at = time.time()
        return None

    wait_for("the death of the node's processes", GONE_S, gone, pause_s=0.02)
    if evidence.processes_of(seen.victim["address"]):
        raise NotShown(f"new processes came up on the dead node at {seen.victim['address']}")
    print("none of them runs any more", flush=True)


def to_the_end(fleet: Fleet, follower: "subprocess.Popen[str]", machines: Machines, seen: Seen) -> None:
    """Wait until the job is final, and `godwit run` with it."""

    def final() -> bool | None:
        look(fleet, seen.job["id"], seen)
        machines.note_now_and_then(fleet)
        return True if seen.job["state"] in FINAL_STATES else None

    wait_for("the end of the job", FINISH_S, final)
    machines.note(fleet)
    code = stage.wait_for_process(follower, "`godwit run`")
    if seen.job["state"] != "succeeded" or code != 0:
        raise NotShown(f"the job {seen.job['state']} ({seen.job['detail']}), and `godwit run` exited with {code}")


def learned(fleet: Fleet, seen: Seen) -> Rows:
    """The model is good, by its progress and by the last word of its output."""
    progress = seen.job["progress"]
    printed = re.findall(r"accuracy\D{0,10}([01]?\.\d+)", fleet.text(f"/jobs/{seen.job['id']}/logs"))
    accuracy = float(printed[-1]) if printed else float(progress["metrics"].get("accuracy", 0))
    if accuracy < ACCURACY_MIN:
        raise NotShown(f"the accuracy is {accuracy:.3f}, below {ACCURACY_MIN}")
    if progress["step"] < progress["total_steps"]:
        raise NotShown(f"the job stopped at step {progress['step']} of {progress['total_steps']}")
    return [("accuracy", f"{accuracy:.4f}"), ("steps done", f"{progress['step']} of {progress['total_steps']}")]


def recovered(fleet: Fleet, seen: Seen) -> Rows:
    """A second attempt went on, elsewhere, from a checkpoint whose manifest and files are really there."""
    events = fleet.events(job=seen.job["id"])
    resumed = first_of(events, "job.first-step", seen.killed_at)
    second = next(each for each in seen.job["attempts"] if each["epoch"] == resumed["data"]["epoch"])
    if second["epoch"] <= seen.epoch:
        raise NotShown(f"attempt {seen.epoch} went on, although its node was dead")
    lost_at = first_of(fleet.events(node=seen.victim["id"]), "node.state", seen.killed_at - 1.0, new="lost")["at"]
    restored = first_of(events, "job.restored", seen.killed_at, epoch=second["epoch"])
    if not restored["data"].get("url"):
        raise NotShown("the further attempt started from nothing")
    manifest = evidence.manifest_at(restored["data"]["url"])
    if manifest.damage():
        raise NotShown(f"the restored checkpoint is damaged: {manifest.damage()}")
    before = [each.order for each in evidence.manifests_beside(manifest) if each.order[0] <= seen.epoch]
    if not before or manifest.order != before[-1]:
        raise NotShown(f"restored was {manifest.order}, but the manifests until then are {before}")
    # Between two looks of ours the job may have come a step further; then the control plane has heard it.
    last_step = max(seen.last_step, restored["data"].get("last_step") or 0)
    return [
        ("steps lost", f"{last_step - manifest.order[1]} (from {last_step} back to {manifest.order[1]})"),
        ("time to detect", f"{max(0.0, lost_at - seen.killed_at):.1f} s"),
        ("time to resume", f"{resumed['at'] - seen.killed_at:.1f} s"),
        ("replacement", replacement(fleet, second, seen)),
    ]


def replacement(fleet: Fleet, second: dict[str, Any], seen: Seen) -> str:
    """Which node took the dead one's place: bought at another provider, or taken from the fleet."""
    gang = {slot["node_id"] for slot in second["slots"]}
    killed = next(each for each in seen.job["attempts"] if each["epoch"] == seen.epoch)
    first = {slot["node_id"] for slot in killed["slots"]}
    if seen.victim["id"] in gang:
        raise NotShown(f"the further attempt was placed on the dead node {seen.victim['id']}")
    for node_id in sorted(gang - first):
        node = fleet.get(f"/nodes/{node_id}")
        taken = node_id in seen.known_before
        if taken or node["provider"] != seen.victim["provider"]:
            return f"{node_id}, {'taken' if taken else 'bought'} at {node['provider']}"
    raise NotShown(f"no node was bought at another provider than {seen.victim['provider']}, nor taken")


def paid(fleet: Fleet, seen: Seen) -> Rows:
    """Where each GPU-second and each dollar went."""
    ledger = fleet.get(f"/jobs/{seen.job['id']}/ledger")
    seconds, dollars = ledger["gpu_seconds_by_reason"], ledger["usd_by_provider"]
    if not seconds or len(dollars) < 1:
        raise NotShown("the ledger does not say where GPU-seconds and dollars went")
    return [
        *((f"GPU-seconds {reason}", f"{value:.1f}") for reason, value in sorted(seconds.items())),
        *((f"dollars at {provider}", f"{value:.4f}") for provider, value in sorted(dollars.items())),
    ]


if __name__ == "__main__":
    sys.exit(stage.main(str(__doc__), "a job that outlived its node", show, SPEC))
