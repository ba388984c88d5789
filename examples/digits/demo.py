"""The demo: a training job on two nodes of a simulated fleet loses one of them half way, and finishes all the same.

    python examples/digits/demo.py [--keep]

Exits 0 only if each step was seen to happen; otherwise it says which did not. Leaves nothing running, on Ctrl-C too.
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import evidence
import httpx
from fleet import Fleet, NotShown, first_of, go_on_unheard, say, wait_for
from rich.console import Console
from rich.table import Table

SPEC = Path(__file__).parent / "job.yaml"
ACCURACY_MIN = 0.95
"""Chance is 0.1; a model that lost its training with the node would be far below."""

HALF_WAY_S = 180.0
"""From submission to half of the steps: buying, Ray's start and the first step take most of it."""

FINISH_S = 240.0
GONE_S = 20.0
NOTE_EVERY_S = 5.0
"""Looking at every process of this machine takes a tenth of a second."""

INTERRUPTED = "interrupted"
FINAL_STATES = ("succeeded", "failed", "cancelled")


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
    machine_processes: set[evidence.Process] = field(default_factory=set)

    noted_at: float = 0.0

    def note_machines(self, fleet: Fleet) -> None:
        """Remember every process of every machine, to look for it at the end."""
        self.noted_at = time.monotonic()
        for node in fleet.get("/nodes")["items"]:
            if node["address"]:
                self.machine_processes |= evidence.processes_of(node["address"])


def show(fleet: Fleet, spec: Path, seen: Seen) -> list[tuple[str, str]]:
    """Run the whole story; returns the rows of the summary. Raises `NotShown`."""
    fleet.run("up", "--detach")
    fleet.run("offers", "--gpus", "H100:1", "--on-demand")
    follower = fleet.start("run", str(spec), "-y")
    try:
        to_half_way(fleet, follower, seen)
        kill_a_node(fleet, seen)
        to_the_end(fleet, follower, seen)
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


def kill_a_node(fleet: Fleet, seen: Seen) -> None:
    """Cut the power of the gang's last node, and see its processes disappear."""
    nodes = {node["id"]: node for node in fleet.get("/nodes")["items"]}
    seen.known_before = set(nodes)
    seen.epoch = seen.job["epoch"]
    seen.victim = nodes[seen.job["attempts"][-1]["slots"][-1]["node_id"]]
    seen.note_machines(fleet)
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


def to_the_end(fleet: Fleet, follower: "subprocess.Popen[str]", seen: Seen) -> None:
    """Wait until the job is final, and `godwit run` with it."""

    def final() -> bool | None:
        look(fleet, seen.job["id"], seen)
        if time.monotonic() - seen.noted_at > NOTE_EVERY_S:
            seen.note_machines(fleet)
        return True if seen.job["state"] in FINAL_STATES else None

    wait_for("the end of the job", FINISH_S, final)
    seen.note_machines(fleet)
    try:
        code = follower.wait(timeout=20)
    except subprocess.TimeoutExpired as exc:
        raise NotShown("`godwit run` did not end with its job") from exc
    if seen.job["state"] != "succeeded" or code != 0:
        raise NotShown(f"the job {seen.job['state']} ({seen.job['detail']}), and `godwit run` exited with {code}")


def learned(fleet: Fleet, seen: Seen) -> list[tuple[str, str]]:
    """The model is good, by its progress and by the last word of its output."""
    progress = seen.job["progress"]
    printed = re.findall(r"accuracy\D{0,10}([01]?\.\d+)", fleet.text(f"/jobs/{seen.job['id']}/logs"))
    accuracy = float(printed[-1]) if printed else float(progress["metrics"].get("accuracy", 0))
    if accuracy < ACCURACY_MIN:
        raise NotShown(f"the accuracy is {accuracy:.3f}, below {ACCURACY_MIN}")
    if progress["step"] < progress["total_steps"]:
        raise NotShown(f"the job stopped at step {progress['step']} of {progress['total_steps']}")
    return [("accuracy", f"{accuracy:.4f}"), ("steps done", f"{progress['step']} of {progress['total_steps']}")]


def recovered(fleet: Fleet, seen: Seen) -> list[tuple[str, str]]:
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


def paid(fleet: Fleet, seen: Seen) -> list[tuple[str, str]]:
    """Where each GPU-second and each dollar went."""
    ledger = fleet.get(f"/jobs/{seen.job['id']}/ledger")
    seconds, dollars = ledger["gpu_seconds_by_reason"], ledger["usd_by_provider"]
    if not seconds or len(dollars) < 1:
        raise NotShown("the ledger does not say where GPU-seconds and dollars went")
    return [
        *((f"GPU-seconds {reason}", f"{value:.1f}") for reason, value in sorted(seconds.items())),
        *((f"dollars at {provider}", f"{value:.4f}") for provider, value in sorted(dollars.items())),
    ]


def leave_nothing(fleet: Fleet, seen: Seen) -> None:
    """Stop everything, and look for what still runs; raises `NotShown` naming it."""
    fleet.run("down")

    def left() -> bool | None:
        alive = {process for process in seen.machine_processes if process.is_alive()}
        return None if alive | evidence.processes_naming(fleet.home) else True

    try:
        wait_for("the end of all processes", 15, left)
    except NotShown as exc:
        alive = {process for process in seen.machine_processes if process.is_alive()}
        commands = sorted(f"{each.pid} {each.command}" for each in alive | evidence.processes_naming(fleet.home))
        raise NotShown(f"still running after `godwit down`: {commands}") from exc


def summarise(rows: list[tuple[str, str]], took_s: float) -> None:
    """Print the table."""
    table = Table(title="a job that outlived its node", show_header=False)
    for name, value in [*rows, ("the whole demo took", f"{took_s:.0f} s")]:
        table.add_row(name, value)
    Console().print("\n", table)


def tried(fleet: Fleet, spec: Path, seen: Seen) -> tuple[list[tuple[str, str]], str | None]:
    """Show it, and stop everything whatever happens; returns the summary, and what did not happen."""
    rows: list[tuple[str, str]] = []
    failure: str | None = None
    try:
        rows = show(fleet, spec, seen)
    except NotShown as exc:
        failure = str(exc)
    except httpx.HTTPError as exc:
        failure = f"the control plane does not answer: {exc}"
    except (KeyboardInterrupt, BrokenPipeError):
        failure = INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave machines behind
        go_on_unheard()
        try:
            leave_nothing(fleet, seen)
        except NotShown as exc:
            failure = f"{failure}; {exc}" if failure else str(exc)
    return rows, failure


def main() -> int:
    """Show it once in a fresh home; the exit code says whether it all happened."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", action="store_true", help="keep the home folder, to look into it")
    options.add_argument("--spec", type=Path, default=SPEC, help="another job on two nodes that reports its accuracy")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    fleet, started = Fleet(Path(tempfile.mkdtemp(prefix="godwit-demo-"))), time.monotonic()
    rows, failure = tried(fleet, given.spec, Seen())
    if failure == INTERRUPTED:
        print("\nstopped; nothing of it is left running", file=sys.stderr)
    elif failure is not None:
        print(f"\nthe demo failed: {failure}\nall output is in {fleet.output}", file=sys.stderr)
        return 1
    else:
        summarise(rows, time.monotonic() - started)
    if not given.keep:
        shutil.rmtree(fleet.home, ignore_errors=True)
    return 130 if failure else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
