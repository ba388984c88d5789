"""Hugging Face's Trainer and godwit, in one line:

    trainer = Trainer(..., callbacks=[godwit.sdk.huggingface.Callback()])
    trainer.train(resume_from_checkpoint=godwit.sdk.huggingface.resume())

The Trainer then saves when godwit asks for it, beside its own `save_steps` (`save_strategy="no"` leaves it to godwit
alone), whatever it saves is taken in, its logs are progress, and it saves and ends when it is told to stop.
"""

import time
from pathlib import Path
from typing import Any

from godwit.sdk import checkpoint, job
from transformers import TrainerCallback


def resume() -> str | None:
    """For `trainer.train(resume_from_checkpoint=...)`: the checkpoint to go on from, None to start from nothing."""
    found = checkpoint.latest()
    return None if found is None else str(found)


class Callback(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Tells the Trainer when to save and when to stop, and godwit what was saved."""

    def __init__(self) -> None:
        self._began: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> Any:
        """Ask for a save when one is due. All processes get the same answer: a save is theirs together."""
        del args
        due = checkpoint.due(state.global_step)
        if due:
            control.should_save = True
        if due and checkpoint.should_stop():
            control.should_training_stop = True
        if control.should_save:
            self._began = time.monotonic()
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_more: Any) -> Any:
        """Take in the folder that the Trainer has just written; one process does."""
        step = int(state.global_step)
        if state.is_world_process_zero:
            checkpoint.take_in(step, Path(args.output_dir) / f"checkpoint-{step}", self._began)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_more: Any) -> Any:
        """The Trainer's logs are progress."""
        del args
        if state.is_world_process_zero:
            numbers = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, int | float)}
            total = int(state.max_steps) if state.max_steps and state.max_steps > 0 else None
            job.report(int(state.global_step), total, **numbers)
        return control
