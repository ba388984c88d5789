"""What a job without a real Ray runs on each of its nodes: steps in common, saved, with a diary.

    python -S -m tests.chaos.program DIARIES STEPS STEP_S [FAILS_AT CODE]

It goes on from the newest checkpoint of its own attempt, since whoever runs it starts it again when it was killed.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from tests.network.program import RANK, TOLD, Diary, follow, lead


def saved() -> int:
    """The newest step that was saved in this attempt or restored for it."""
    folder, restored = Path(os.environ["GODWIT_CHECKPOINT_DIR"]), os.environ.get("GODWIT_RESTORED_CHECKPOINT")
    steps = [int(path.name.removeprefix("step-")) for path in folder.glob("step-*")]
    return max([*steps, int(Path(restored).read_text()) if restored else 0])


def begin(folder: Path) -> Diary:
    """The diary of this process, which goes on from what was saved; it says from now on that the process lives."""
    diary = Diary(folder)
    diary.step = saved()
    diary.note("start")
    diary.look_for_others()
    threading.Thread(target=diary.keep, daemon=True).start()
    return diary


def hear_the_end(diary: Diary) -> None:
    """Save and end when asked to."""

    def hear(*_args: object) -> None:
        diary.note("told")
        TOLD.set()

    signal.signal(signal.SIGTERM, hear)


def main() -> int:
    """Do what is left to do; returns the exit code."""
    steps, step_s = int(sys.argv[2]), float(sys.argv[3])
    fails_at, code = (int(sys.argv[4]), int(sys.argv[5])) if len(sys.argv) > 5 else (None, 0)
    diary = begin(Path(sys.argv[1]))
    if RANK != 0:
        follow(diary)
        return 0
    hear_the_end(diary)
    lead(diary, fails_at or steps, step_s)
    diary.note("end")
    return 0 if TOLD.is_set() else code


if __name__ == "__main__":
    sys.exit(main())
