"""The batch of one step when the number of workers changes: `batch: keep` or `batch: scale` of the job's specification.

share = batch.share(256, world_size=world, rank=rank, began_with=2)
loader = DataLoader(..., batch_size=share.local)
rate = base_rate * share.rate_factor
"""

import os
from dataclasses import dataclass

KEEP, SCALE = "keep", "scale"


@dataclass(frozen=True)
class Share:
    """What one worker does of a step: `local` samples of `whole`.

    `rate_factor` is what the learning rate is multiplied with: the whole batch over the one that it was chosen for
    (linear scaling; Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.1).
    """

    local: int
    whole: int
    rate_factor: float


def mode() -> str:
    """What the job's specification says: `keep` (also outside of godwit) or `scale`."""
    return os.environ.get("GODWIT_BATCH", KEEP)


def share(whole: int, *, world_size: int, rank: int = 0, began_with: int = 1, how: str | None = None) -> Share:
    """One worker's share of a batch of `whole` samples that was chosen for `began_with` workers.

    Kept, all workers together do `whole`, the first ones a sample more where it does not divide; scaled, each does what
    it did with `began_with` workers. Raises `ValueError` where a worker would have nothing to do.
    """
    if world_size < 1 or not 0 <= rank < world_size or began_with < 1:
        raise ValueError(f"rank {rank} of {world_size} workers, begun with {began_with}: ranks count from 0")
    if (how or mode()) == SCALE:
        local = whole // began_with
        _refuse_nothing(local, whole, began_with)
        return Share(local, local * world_size, world_size / began_with)
    local = whole // world_size + (rank < whole % world_size)
    _refuse_nothing(local, whole, world_size)
    return Share(local, whole, 1.0)


def _refuse_nothing(local: int, whole: int, workers: int) -> None:
    if local < 1:
        raise ValueError(f"a batch of {whole} leaves nothing for some of {workers} workers; make it larger")
