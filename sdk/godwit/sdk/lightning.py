"""PyTorch Lightning and godwit, in one line:

    trainer = Trainer(..., callbacks=[godwit.sdk.lightning.Callback()])
    trainer.fit(model, ckpt_path=godwit.sdk.lightning.resume())

Lightning then saves when godwit asks for it, its metrics are progress, and it saves and ends when it is told to stop.
"""

import time
from typing import Any

from godwit.sdk import checkpoint, job
from godwit.sdk.pacing import Verdict

try:
    from lightning.pytorch.callbacks import Callback as _Base
except ModuleNotFoundError:
    from pytorch_lightning.callbacks import Callback as _Base

FILE = "lightning.ckpt"


def resume() -> str | None:
    """For `trainer.fit(ckpt_path=...)`: the checkpoint to go on from, None to start from nothing."""
    found = checkpoint.latest()
    if found is None:
        return None
    return str(found / FILE if (found / FILE).exists() else found)


class Callback(_Base):  # type: ignore[misc]  # Lightning is not typed here
    """Saves when it is time, stops when told, and reports progress."""

    def __init__(self, report_every_s: float = 1.0) -> None:
        self._report_every_s = report_every_s
        self._reported_at = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save when it is time: in all processes at the same step, since a save is theirs together."""
        del pl_module, outputs, batch, batch_idx
        step = int(trainer.global_step)
        alone = int(getattr(trainer, "world_size", 1)) < 2

        def agree(verdict: Verdict) -> Verdict:
            told: Verdict = verdict if alone else trainer.strategy.broadcast(verdict, src=0)
            return told

        due = checkpoint.due(step, agree)
        if due:
            self._save(trainer, step)
        if due and checkpoint.should_stop():
            trainer.should_stop = True
        self._report(trainer, step)

    def _save(self, trainer: Any, step: int) -> None:
        began = time.monotonic()
        draft = checkpoint.directory() / f".lightning-{step}.tmp"
        trainer.save_checkpoint(str(draft / FILE))
        if trainer.is_global_zero:
            checkpoint.adopt(step, draft, began)
        trainer.strategy.barrier("godwit: the checkpoint has its name")

    def _report(self, trainer: Any, step: int) -> None:
        now = time.monotonic()
        if not trainer.is_global_zero or now - self._reported_at < self._report_every_s:
            return
        self._reported_at = now
        total = trainer.estimated_stepping_batches
        whole = int(total) if isinstance(total, int | float) and 0 < total < float("inf") else None
        numbers: dict[str, float] = {}
        for name, value in dict(trainer.callback_metrics).items():
            try:
                numbers[name] = float(value)
            except (TypeError, ValueError):
                continue  # not one number
        job.report(step, whole, **numbers)
