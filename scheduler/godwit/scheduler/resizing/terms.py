"""How careful changes of size are."""

from dataclasses import dataclass

from godwit.scheduler.elasticity.sizes import TERMS


@dataclass(frozen=True)
class Terms:
    """All in seconds but `caution`.

    `settle_s`: by itself the planner changes a job's size at most this often. `lost_max_s`: a program that bends in
    place goes on from its last checkpoint, so a change waits for one that is at most so old; a wish of its owner does
    so only up to `wait_for_save_s`, since some programs never save. `restart_s` is what a change costs besides (Ray
    Train's workers start anew in about ten seconds, a plain command with its Ray in thirty), `horizon_s` how long a
    size is expected to last, and `caution` how many times a change must earn what it costs within that time.
    """

    settle_s: float = TERMS.settle_s
    lost_max_s: float = 60.0
    wait_for_save_s: float = 600.0
    restart_s: float = 30.0
    horizon_s: float = TERMS.horizon_s
    caution: float = TERMS.caution
