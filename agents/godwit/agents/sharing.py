"""Whether a start finds its GPUs free, or as large a share of them as it wants."""

from collections import Counter
from collections.abc import Sequence

from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import StartAttempt


def fits_beside(wanted: StartAttempt, others: Sequence[StartAttempt]) -> bool:
    """Whether no GPU that it wants is held beyond what is left beside its own share."""
    taken = Counter[int]()
    for other in others:
        taken.update(dict.fromkeys(other.gpus, other.gpu_milli))
    return all(taken[gpu] + wanted.gpu_milli <= WHOLE_GPU_MILLI for gpu in wanted.gpus)
