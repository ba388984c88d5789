"""What a job with a real Ray runs: an actor on each node does each step and keeps a diary; the driver saves.

    python -m tests.chaos.on_ray DIARIES STEPS STEP_S

An actor that is killed is started again by Ray, a driver that is killed by whoever runs this.
"""

import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tests.chaos.program import begin, hear_the_end
from tests.network.program import NODES, TOLD, Diary

SAVE_EVERY, KEPT = 4, 10
READY_S = 120.0


class Rank:
    """One node's part of the job."""

    def __init__(self, folder: str, step: int) -> None:
        self._diary = Diary(Path(folder))
        self._diary.step = step
        self._diary.note("start")
        self._diary.look_for_others()
        threading.Thread(target=self._diary.keep, daemon=True).start()

    def step(self, number: int) -> int:
        """Do a step."""
        self._diary.step = number
        self._diary.note("step")
        return number


def main() -> None:
    """Go on from what was saved."""
    folder, steps, step_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    diary = begin(folder)
    hear_the_end(diary)
    ray.init(log_to_driver=False, logging_level="ERROR")
    group = placement_group([{"CPU": 1}] * NODES, strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=READY_S)
    kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Rank)
    ranks = [
        kind.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote(str(folder), diary.step)
        for index in range(NODES)
    ]
    checkpoints = Path(os.environ["GODWIT_CHECKPOINT_DIR"])
    while diary.step < steps and not TOLD.is_set():
        time.sleep(step_s)
        ray.get([rank.step.remote(diary.step + 1) for rank in ranks])
        diary.step += 1
        diary.note("step")
        if diary.step % SAVE_EVERY == 0 or diary.step == steps or TOLD.is_set():
            (checkpoints / ".new").write_text(f"{diary.step}\n")
            (checkpoints / ".new").rename(checkpoints / f"step-{diary.step}")
            (checkpoints / f"step-{diary.step - KEPT * SAVE_EVERY}").unlink(missing_ok=True)
    diary.note("end")


if __name__ == "__main__":
    main()
