"""What is said of an attempt whose memory ran out. Pure."""

from dataclasses import dataclass, replace

from godwit.agents.effects import Stopped


@dataclass(frozen=True)
class Spent:
    """The bound of an attempt's memory in bytes, and how many of its processes the kernel ended at it."""

    memory_bytes: int = 0
    kills: int = 0


def explained(end: Stopped, spent: Spent) -> Stopped:
    """The end with what the kernel did to it; a program that ended well got over it."""
    if not spent.kills or end.outcome == "succeeded":
        return end
    which = "a process" if spent.kills == 1 else f"{spent.kills} processes"
    bound = f"{spent.memory_bytes / 2**30:.1f} GiB"
    why = (
        f"out of memory: the kernel ended {which} of the attempt at its bound of {bound}, its share of this node; use "
        "less (smaller batches, fewer loader processes), or ask for more GPUs or larger machines"
    )
    return replace(end, detail=f"{end.detail}; {why}")
