"""The demo of a migration: a training job moves from one cloud to another while it trains, and ends as if it had not.

    python examples/digits/move.py [--keep]

The same job runs twice on two simulated clouds: once left alone, once moved half way by `godwit migrate`. Exits 0 only
if each step was seen to happen and the two models agree. Leaves nothing running, on Ctrl-C too.
"""

import argparse
import re
import shutil
import signal
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

SPEC = Path(__file__).parent / "move.yaml"
ACCURACY_MIN = 0.95
TOLERANCE = 0.02
"""How far the accuracy may lie from that of the undisturbed run: 7 of the 360 held-out digits. Both go through the same
steps with the same shuffles; what differs is in what order workers' sums are added."""

HALF_WAY_S, FINISH_S, GONE_S = 240.0, 300.0, 20.0
NOTE_EVERY_S = 5.0
FINAL_STATES = ("succeeded", "failed", "cancelled")
INTERRUPTED = "interrupted"


@dataclass
class Seen:
    """What was seen of one run."""

    job: dict[str, Any] = field(default_factory=dict)
    processes: set[evidence.Process] = field(default_factory=set)
    noted_at: float = 0.0
    from_provider: str = ""
    to_provider: str = ""


def show(fleet: Fleet, spec: Path, seen: Seen) -> list[tuple[str, str]]:
    """Run the whole story; returns the rows of the summary. Raises `NotShown`."""
    fleet.run("up", "--detach")
    fleet.run("offers", "--gpus", "H100:1", "--on-demand")
    say("first undisturbed, to compare with")
    submit(fleet, spec, "digits-alone", seen, "--env", "PACE=0")
    to_the_end(fleet, seen)
    alone = accuracy_of(fleet, seen)
    say("now the same, moved half way")
    submit(fleet, spec, "digits-moved", seen)
    to_half_way(fleet, seen)
    move(fleet, seen)
    to_the_end(fleet, seen)
    moved = accuracy_of(fleet, seen)
    if abs(moved - alone) > TOLERANCE:
        raise NotShown(f"the accuracy is {moved:.4f}, and {alone:.4f} undisturbed: more than {TOLERANCE} apart")
    fleet.run("explain", seen.job["id"])
    rows = [("accuracy undisturbed", f"{alone:.4f}"), ("accuracy moved", f"{moved:.4f} (within {TOLERANCE})")]
    return [*rows, *migrated(fleet, seen), *paid(fleet, seen)]


def submit(fleet: Fleet, spec: Path, name: str, seen: Seen, *more: str) -> None:
    """Submit the job under a name of its own."""
    fleet.run("run", str(spec), "--name", name, "-y", "--detach", *more)
    seen.job = fleet.get(f"/jobs/{name}")


def look(fleet: Fleet, seen: Seen) -> None:
    """Note how the job stands, and which processes there are."""
    seen.job = fleet.get(f"/jobs/{seen.job['id']}")
    if time.monotonic() - seen.noted_at > NOTE_EVERY_S:
        seen.noted_at = time.monotonic()
        for node in fleet.get("/nodes")["items"]:
            if node["address"]:
                seen.processes |= evidence.processes_of(node["address"])


def to_half_way(fleet: Fleet, seen: Seen) -> None:
    """Wait until the job has done some steps and has a checkpoint: it is about half done by when it moves."""

    def there() -> bool | None:
        look(fleet, seen)
        if seen.job["state"] in FINAL_STATES:
            raise NotShown(f"the job {seen.job['state']} before it was half done: {seen.job['detail']}")
        progress = seen.job["progress"] or {}
        total = progress.get("total_steps")
        return True if total and progress["step"] * 8 >= total and seen.job["checkpoints"] else None

    wait_for("the first checkpoint", HALF_WAY_S, there)


def move(fleet: Fleet, seen: Seen) -> None:
    """Move the job to another cloud, and see it work there."""
    nodes = {node["id"]: node for node in fleet.get("/nodes")["items"]}
    seen.from_provider = nodes[seen.job["attempts"][-1]["slots"][0]["node_id"]]["provider"]
    others = [one["name"] for one in fleet.get("/providers")["items"] if one["name"] != seen.from_provider]
    sellers = {one["provider"] for one in fleet.get("/offers")["items"] if (one["gpu_model"] or "").startswith("H100")}
    seen.to_provider = next(name for name in sorted(others) if name in sellers)
    say(f"half way: from {seen.from_provider} to {seen.to_provider}")
    fleet.run("migrate", seen.job["id"], "--to", seen.to_provider, "-y")


def to_the_end(fleet: Fleet, seen: Seen) -> None:
    """Wait until the job is final; raises `NotShown` unless it succeeded."""

    def final() -> bool | None:
        look(fleet, seen)
        return True if seen.job["state"] in FINAL_STATES else None

    wait_for("the end of the job", FINISH_S, final)
    if seen.job["state"] != "succeeded":
        raise NotShown(f"the job {seen.job['state']}: {seen.job['detail']}")


def accuracy_of(fleet: Fleet, seen: Seen) -> float:
    """The accuracy by the last word of the job's output, after all of its steps."""
    progress = seen.job["progress"]
    if progress["step"] < progress["total_steps"]:
        raise NotShown(f"the job stopped at step {progress['step']} of {progress['total_steps']}")
    printed = re.findall(r"accuracy\D{0,10}([01]?\.\d+)", fleet.text(f"/jobs/{seen.job['id']}/logs"))
    accuracy = float(printed[-1]) if printed else float(progress["metrics"].get("accuracy", 0))
    if accuracy < ACCURACY_MIN:
        raise NotShown(f"the accuracy is {accuracy:.3f}, below {ACCURACY_MIN}")
    return accuracy


def migrated(fleet: Fleet, seen: Seen) -> list[tuple[str, str]]:
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
    lost = restored["data"]["steps_lost"]
    began = first_of(events, "attempt.state", 0.0, new="starting")
    start_s = first_of(events, "job.first-step", began["at"], epoch=1)["at"] - began["at"]
    measured = migration["measured"] or {}
    return [
        ("moved", f"from {seen.from_provider} to {seen.to_provider}"),
        ("copied ahead", f"{migration['moved_bytes']} bytes"),
        ("downtime", f"{migration['downtime_s']:.1f} s (last step there to first step here)"),
        ("its first start took", f"{start_s:.1f} s (from its placement to its first step)"),
        ("steps done again", str(lost)),
        ("predicted", migration["sum"]["text"]),
        ("measured", f"${measured.get('net_usd', 0.0):.4f} net over {measured.get('hours', 0.0):.3f} h"),
    ]


def paid(fleet: Fleet, seen: Seen) -> list[tuple[str, str]]:
    """Where each GPU-second and each dollar went: at both clouds."""
    ledger = fleet.get(f"/jobs/{seen.job['id']}/ledger")
    seconds, dollars = ledger["gpu_seconds_by_reason"], ledger["usd_by_provider"]
    if not {seen.from_provider, seen.to_provider} <= set(dollars):
        raise NotShown(f"the ledger accounts for {sorted(dollars)} only")
    return [
        *((f"GPU-seconds {reason}", f"{value:.1f}") for reason, value in sorted(seconds.items())),
        *((f"dollars at {provider}", f"{value:.4f}") for provider, value in sorted(dollars.items())),
    ]


def leave_nothing(fleet: Fleet, seen: Seen) -> None:
    """Stop everything, and look for what still runs; raises `NotShown` naming it."""
    fleet.run("down")

    def left() -> bool | None:
        alive = {process for process in seen.processes if process.is_alive()}
        return None if alive | evidence.processes_naming(fleet.home) else True

    wait_for("the end of all processes", GONE_S, left)


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
        for told in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave machines behind
            signal.signal(told, signal.SIG_IGN)
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
    fleet, started = Fleet(Path(tempfile.mkdtemp(prefix="godwit-move-"))), time.monotonic()
    rows, failure = tried(fleet, given.spec, Seen())
    if failure == INTERRUPTED:
        print("\nstopped; nothing of it is left running", file=sys.stderr)
    elif failure is not None:
        print(f"\nthe demo failed: {failure}\nits home was {fleet.home}; --keep leaves it there", file=sys.stderr)
    else:
        table = Table(title="a job that moved to another cloud", show_header=False)
        for name, value in [*rows, ("the whole demo took", f"{time.monotonic() - started:.0f} s")]:
            table.add_row(name, value)
        Console().print("\n", table)
    if not given.keep:
        shutil.rmtree(fleet.home, ignore_errors=True)
    return 0 if failure is None else 130 if failure == INTERRUPTED else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
