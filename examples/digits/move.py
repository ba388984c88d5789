"""The demo of a job that bends and moves: it grows, loses a node, and changes clouds, all while it trains.

    python examples/digits/move.py [--keep]

A Ray Train job on simulated clouds starts on two nodes, grows to four, loses one and goes on with three, and is moved
to another cloud by `godwit migrate`. Beside it the same training runs undisturbed in one process. Exits 0 only if each
step was seen to happen and the two models agree. Leaves nothing running, on Ctrl-C too.
"""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stage
import steps
import yaml
from fleet import Fleet, NotShown, first_of, say, wait_for
from stage import FINAL_STATES, Machines, Rows

HERE = Path(__file__).parent
SPEC = HERE / "move.yaml"
ACCURACY_MIN = 0.95
TOLERANCE = 0.02
"""How far the accuracy may lie from that of the undisturbed run: 7 of the 360 held-out digits. Both go through the same
batches with the same shuffles; what differs is in what order workers' sums are added."""

SHOWN = re.compile(r"^\[godwit\] (?!.* job checkpoint)|^submitted|^step \d*0/\d+ loss|^accuracy")
"""godwit's own lines but those about checkpoints, which come every few seconds; and every tenth step."""

START_S, RESIZE_S, FINISH_S = 240.0, 240.0, 300.0


@dataclass
class Seen:
    """What was seen of the job."""

    job: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    stepped_at: float = 0.0
    stood_s: dict[tuple[int, int], float] = field(default_factory=dict)
    """From the last step that was seen at one size to the first one at the next."""

    from_provider: str = ""
    to_provider: str = ""


def show(fleet: Fleet, spec: Path, machines: Machines) -> Rows:
    """Run the whole story; returns the rows of the summary. Raises `NotShown`."""
    seen = Seen()
    fleet.run("up", "--detach")
    fleet.run("offers", "--gpus", "H100:1", "--on-demand")
    follower = fleet.start("run", str(spec), "-y", shown=SHOWN)
    alone = undisturbed(fleet, spec)
    try:
        seen.job = wait_for("the submission", 60, lambda: next(iter(fleet.get("/jobs")["items"]), None))
        with_workers(fleet, machines, seen, 2, START_S)
        grow(fleet, machines, seen)
        lose_one(fleet, machines, seen)
        move(fleet, seen)
        to_the_end(fleet, machines, seen)
        stage.wait_for_process(follower, "`godwit run`")
        apart = accuracy_of(alone)
    finally:
        for process in (follower, alone):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
    fleet.run("explain", seen.job["id"])
    return [*learned(fleet, seen, apart), *migrated(fleet, seen), *paid(fleet, seen)]


def undisturbed(fleet: Fleet, spec: Path) -> "subprocess.Popen[str]":
    """Start the same training in a process of its own, to compare with; it gives way to everything else."""
    count = str(yaml.safe_load(spec.read_text())["env"]["STEPS"])
    say("beside it, the same training undisturbed in one process, to compare with")
    argv = ["nice", sys.executable, str(HERE / "train.py"), "--alone", "--steps", count, "--step-seconds", "0"]
    return subprocess.Popen(
        argv,
        env={**os.environ, "GODWIT_HOME": str(fleet.home)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def look(fleet: Fleet, machines: Machines, seen: Seen) -> None:
    """Note how the job stands, and which processes there are."""
    seen.job = fleet.get(f"/jobs/{seen.job['id']}")
    progress = seen.job["progress"] or {}
    workers = int(progress.get("metrics", {}).get("workers", 0))
    if workers != seen.workers:
        seen.stood_s[seen.workers, workers] = progress["at"] - seen.stepped_at
    seen.workers, seen.stepped_at = workers, progress.get("at", 0.0)
    machines.note_now_and_then(fleet)


def with_workers(fleet: Fleet, machines: Machines, seen: Seen, count: int, within_s: float) -> None:
    """Wait until the job did a step on so many nodes, and has a checkpoint."""

    def there() -> bool | None:
        look(fleet, machines, seen)
        if seen.job["state"] in FINAL_STATES:
            raise NotShown(f"the job {seen.job['state']} before it did a step on {count} nodes: {seen.job['detail']}")
        return True if seen.workers == count and seen.job["checkpoints"] else None

    wait_for(f"a step on {count} nodes", within_s, there)


def grow(fleet: Fleet, machines: Machines, seen: Seen) -> None:
    """Ask for twice the nodes, and see the same attempt train on them."""
    say("it trains on two nodes: now on four")
    fleet.run("resize", seen.job["id"], "--nodes", "4")
    with_workers(fleet, machines, seen, 4, RESIZE_S)
    in_place(seen)


def lose_one(fleet: Fleet, machines: Machines, seen: Seen) -> None:
    """Cut the power of one of the four; the other three go on, and its owner leaves it at that."""
    victim = seen.job["attempts"][-1]["slots"][-1]["node_id"]
    say(f"it trains on four nodes: {victim} loses its power")
    fleet.run("drill", "node-loss", victim)
    fleet.run("resize", seen.job["id"], "--nodes", "3")
    with_workers(fleet, machines, seen, 3, RESIZE_S)
    in_place(seen)


def in_place(seen: Seen) -> None:
    """It is still the first attempt: what came and went did so while it ran."""
    if len(seen.job["attempts"]) != 1:
        raise NotShown(f"attempt {seen.job['epoch']} started: the first one did not go on")


def move(fleet: Fleet, seen: Seen) -> None:
    """Move the job to another cloud, and see it work there."""
    nodes = {node["id"]: node for node in fleet.get("/nodes")["items"]}
    seen.from_provider = nodes[seen.job["attempts"][-1]["slots"][0]["node_id"]]["provider"]
    others = [one["name"] for one in fleet.get("/providers")["items"] if one["name"] != seen.from_provider]
    sellers = {one["provider"] for one in fleet.get("/offers")["items"] if (one["gpu_model"] or "").startswith("H100")}
    seen.to_provider = next(name for name in sorted(others) if name in sellers)
    say(f"it trains on three nodes: now from {seen.from_provider} to {seen.to_provider}")
    fleet.run("migrate", seen.job["id"], "--to", seen.to_provider, "-y")


def to_the_end(fleet: Fleet, machines: Machines, seen: Seen) -> None:
    """Wait until the job is final; raises `NotShown` unless it succeeded."""

    def final() -> bool | None:
        look(fleet, machines, seen)
        return True if seen.job["state"] in FINAL_STATES else None

    wait_for("the end of the job", FINISH_S, final)
    if seen.job["state"] != "succeeded":
        raise NotShown(f"the job {seen.job['state']}: {seen.job['detail']}")


def accuracy_of(alone: "subprocess.Popen[str]") -> float:
    """What the undisturbed training came to."""
    try:
        printed, _ = alone.communicate(timeout=FINISH_S)
    except subprocess.TimeoutExpired as exc:
        raise NotShown(f"the undisturbed training was not done {FINISH_S:.0f} s after the job") from exc
    return accuracy_in(printed)


def accuracy_in(printed: str) -> float:
    """The last word of train.py."""
    found = re.findall(r"accuracy ([01]\.\d+) after", printed)
    if not found:
        raise NotShown("the training did not tell its accuracy")
    return float(found[-1])


def learned(fleet: Fleet, seen: Seen, alone: float) -> Rows:
    """The model is as good as the undisturbed one, and every step of it was done by somebody."""
    printed = fleet.text(f"/jobs/{seen.job['id']}/logs")
    moved = accuracy_in(printed)
    if min(moved, alone) < ACCURACY_MIN:
        raise NotShown(f"the accuracy is {moved:.4f}, {alone:.4f} undisturbed: it should be {ACCURACY_MIN}")
    if abs(moved - alone) > TOLERANCE:
        raise NotShown(f"the accuracy is {moved:.4f}, and {alone:.4f} undisturbed: more than {TOLERANCE} apart")
    done = steps.stretches(printed.splitlines())
    again = sum(each.again for each in done)
    return [
        ("accuracy", f"{moved:.4f} (undisturbed: {alone:.4f}; may differ by {TOLERANCE})"),
        *((each.who, str(each)) for each in done),
        ("stood still to grow", f"{seen.stood_s[2, 4]:.0f} s (Ray Train starts its workers anew)"),
        ("stood still after the loss", f"{seen.stood_s[4, 3]:.0f} s (the same, once Ray knows of it)"),
        ("all together", f"steps 1 to {done[-1].last}, none missing, {again} done again"),
    ]


def migrated(fleet: Fleet, seen: Seen) -> Rows:
    """It ran there from a checkpoint of here, never twice at once, and every step of the move is in the record."""
    (migration,) = fleet.get(f"/jobs/{seen.job['id']}/migrations")["items"]
    if migration["state"] != "done" or migration["downtime_s"] is None:
        raise NotShown(f"the migration is {migration['state']}: {migration['detail']}")
    nodes = {node_id: fleet.get(f"/nodes/{node_id}") for node_id in migration["nodes"]}
    strangers = {node["provider"] for node in nodes.values()} - {seen.to_provider}
    second = next(each for each in seen.job["attempts"] if each["epoch"] == migration["from_epoch"] + 1)
    if strangers or {slot["node_id"] for slot in second["slots"]} != set(nodes):
        raise NotShown(f"attempt {second['epoch']} did not run on the nodes that were made ready at {seen.to_provider}")
    events = fleet.events(job=seen.job["id"])
    ended = first_of(events, "attempt.state", 0.0, new="ended")
    started = first_of(events, "attempt.state", ended["at"] - 0.001, epoch=second["epoch"], new="starting")
    restored = first_of(events, "job.restored", started["at"], epoch=second["epoch"])
    began = first_of(events, "attempt.state", 0.0, new="starting")
    start_s = first_of(events, "job.first-step", began["at"], epoch=1)["at"] - began["at"]
    measured = migration["measured"] or {}
    return [
        ("moved", f"from {seen.from_provider} to {seen.to_provider}"),
        ("copied ahead", f"{migration['moved_bytes']} bytes"),
        ("downtime", f"{migration['downtime_s']:.1f} s (last step there to first step here)"),
        ("", f"{migration['downtime_s'] / start_s:.2f} times its first start on two nodes, {start_s:.1f} s"),
        ("steps lost by the move", str(restored["data"]["steps_lost"])),
        ("predicted", migration["sum"]["text"]),
        ("measured", f"{signed(measured.get('net_usd', 0.0))} net over {measured.get('hours', 0.0):.3f} h"),
    ]


def signed(amount: float) -> str:
    """-$0.2574 rather than $-0.2574."""
    return f"{'-' if amount < 0 else ''}${abs(amount):.4f}"


def paid(fleet: Fleet, seen: Seen) -> Rows:
    """Where each GPU-second and each dollar went: at both clouds."""
    ledger = fleet.get(f"/jobs/{seen.job['id']}/ledger")
    seconds, dollars = ledger["gpu_seconds_by_reason"], ledger["usd_by_provider"]
    if not {seen.from_provider, seen.to_provider} <= set(dollars):
        raise NotShown(f"the ledger accounts for {sorted(dollars)} only")
    return [
        *((f"GPU-seconds {reason}", f"{value:.1f}") for reason, value in sorted(seconds.items())),
        *((f"dollars at {provider}", f"{value:.4f}") for provider, value in sorted(dollars.items())),
    ]


if __name__ == "__main__":
    sys.exit(stage.main(str(__doc__), "a job that grew, shrank and moved", show, SPEC))
