"""All checks of one GPU, in the order in which they are read."""

from godwit.agents.checks.gpu import (
    boards,
    clocks,
    ecc,
    fabric,
    leftovers,
    nvlink,
    pcie,
    power,
    reachable,
    recovery,
    rows,
    temperature,
)
from godwit.agents.checks.gpu.reading import GpuCheck

CHECKS: tuple[GpuCheck, ...] = (
    recovery.CHECK,
    ecc.CHECK,
    rows.CHECK,
    clocks.CHECK,
    temperature.CHECK,
    power.CHECK,
    pcie.CHECK,
    nvlink.CHECK,
    fabric.CHECK,
    leftovers.CHECK,
    boards.INFOROM,
    boards.MODES,
    reachable.CHECK,
)
"""The last one looks at what went wrong in the others."""
