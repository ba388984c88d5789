"""The reasons for which a second of a GPU was paid, and what is known besides of some of them."""

from enum import StrEnum


class Use(StrEnum):
    """What a GPU did for a second; the order is that in which the reasons are stacked and listed.

    `waiting`: kept for the rest of its gang. `recovering`: between an attempt's loss and its successor's work. `held`:
    kept by somebody who does not use it. `broken`: paid for and unusable. Of the others the name says it.
    """

    BUSY = "busy"
    CHECKPOINTING = "checkpointing"
    STARTING = "starting"
    RECOVERING = "recovering"
    WAITING = "waiting"
    DRAINING = "draining"
    HELD = "held"
    BROKEN = "broken"
    IDLE = "idle"


class How(StrEnum):
    """What kind of such a second it was, where that tells what would have avoided it; `plain`: nothing more to say.

    `beside`: idle while others of its node are held. `boot`: its machine is not up yet. `lost`: its node is not heard;
    `unfit`: health took it out; `orphan`: no living node's machine. `cordoned`: a person keeps work off it; `unused`:
    of an environment that nobody uses. `over`: after the end, up to that of the unit it is billed in.
    """

    PLAIN = ""
    BESIDE = "beside"
    BOOT = "boot"
    LOST = "lost"
    UNFIT = "unfit"
    ORPHAN = "orphan"
    CORDONED = "cordoned"
    UNUSED = "unused"
    OVER = "over"


WORK = frozenset({Use.BUSY, Use.CHECKPOINTING})
"""The reasons for which GPUs are rented; all others are what it takes, or lost."""
