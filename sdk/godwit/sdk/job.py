"""Tell godwit how far the program is, and hear when it is to stop."""

import json
import os
import time
from pathlib import Path

from godwit.sdk.notice import on_notice, should_stop

__all__ = ["on_notice", "report", "should_stop"]

ROTATE_BYTES = 1024 * 1024
"""The agent reads the newest line a few times a second; a megabyte is thousands of reports."""


def report(step: int, total_steps: int | None = None, **metrics: float) -> None:
    """Say that `step` (of `total_steps`) is done, with any numbers worth a look, such as `loss=0.3`.

    Two names have a meaning: a `loss` that is no number or jumps is found; and where each rank tells its `compute_s`,
    what the step took without waiting for other ranks, those that lag are. Ranks are told apart by RANK and LOCAL_RANK,
    as torchrun sets them.
    Cheap (one small write); only the newest report counts. Does nothing outside of godwit. Never raises for want of
    space or folder: a report is not worth a training run.
    """
    folder = os.environ.get("GODWIT_RUN_DIR")
    if not folder:
        return
    numbers = {name: float(value) for name, value in metrics.items()}
    record = {"at": time.time(), "step": int(step), "total_steps": total_steps, "metrics": numbers, **_ranks()}
    line = json.dumps(record).encode() + b"\n"
    path = Path(folder) / "progress.jsonl"
    try:
        _append(path, line)
    except OSError:
        return


def _ranks() -> dict[str, int]:
    named = {"rank": os.environ.get("RANK", ""), "local_rank": os.environ.get("LOCAL_RANK", "")}
    return {name: int(value) for name, value in named.items() if value.isdigit()}


def _append(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)  # one write: lines of several processes do not mix
        size = os.fstat(handle).st_size
    finally:
        os.close(handle)
    if size > ROTATE_BYTES:
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_bytes(line)
        fresh.replace(path)
