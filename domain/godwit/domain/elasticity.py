"""How a job bends that may have more or fewer nodes than now."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Pace:
    """What a job did at one size: `steps` in so many `seconds`. Both are halved now and then, hence no whole steps."""

    steps: float
    seconds: float


class Bends(StrEnum):
    """What a change of its size means for a program.

    `in-place`: it goes on, and takes nodes in or does without, as Ray Train does. `restart`: it is told to save, stops,
    and starts again from its checkpoint with the new number of nodes.
    """

    IN_PLACE = "in-place"
    RESTART = "restart"


class Batch(StrEnum):
    """What becomes of the batch of one step: `keep` all of it, so that each worker does more or less; or `scale` it,
    each worker doing the same.
    """

    KEEP = "keep"
    SCALE = "scale"
