"""Fire drills: what may be broken on purpose, to see that the fleet heals.

A cloud that can be drilled breaks one of its machines. What it cannot break itself it leaves to the machine's agent, as
a file `faults/NAME.json` in the agent's folder that holds `{"fault": <kind>, "gpu": <index or null>}`: the agent then
shows what a real fault of this kind shows (counters of the driver, lines of the kernel's log), to the same checks.
"""

from collections.abc import Mapping
from enum import StrEnum


class Drill(StrEnum):
    """What to break."""

    NODE_LOSS = "node-loss"
    AGENT_LOSS = "agent-loss"
    GPU_LOST = "gpu-lost"
    ECC_UNCORRECTED = "ecc-uncorrected"
    ROW_REMAP_PENDING = "row-remap-pending"
    ROW_REMAP_FAILURE = "row-remap-failure"
    NVLINK_FATAL = "nvlink-fatal"
    THERMAL = "thermal"
    POWER_BRAKE = "power-brake"
    PCIE_NARROW = "pcie-narrow"
    XID_13 = "xid-13"
    SLOW = "slow"
    SILENT_CORRUPTION = "silent-corruption"
    FABRIC = "fabric"
    HANG_DRIVER = "hang-driver"
    IB_FLAP = "ib-flap"
    DISK_FULL = "disk-full"


TOLD: Mapping[Drill, str] = {
    Drill.NODE_LOSS: "cut the power of the machine",
    Drill.AGENT_LOSS: "kill the node's agent; its jobs go on, and it is started again",
    Drill.GPU_LOST: "a GPU falls off the bus (Xid 79)",
    Drill.ECC_UNCORRECTED: "a GPU's memory has an error that cannot be corrected (Xid 48)",
    Drill.ROW_REMAP_PENDING: "a row of memory is to be remapped at the next reset (Xid 63)",
    Drill.ROW_REMAP_FAILURE: "a row of memory cannot be remapped any more (Xid 64)",
    Drill.NVLINK_FATAL: "an NVLink fails for good (Xid 74)",
    Drill.THERMAL: "a GPU slows down since it is too hot",
    Drill.POWER_BRAKE: "a GPU slows down since it gets too little power",
    Drill.PCIE_NARROW: "a GPU's PCIe link has fewer lanes than it should",
    Drill.XID_13: "a program makes a mistake on a GPU (Xid 13): nothing is to be done about the GPU",
    Drill.SLOW: "a GPU computes slower than its peers",
    Drill.SILENT_CORRUPTION: "a GPU computes wrong results, and nothing says so",
    Drill.FABRIC: "a GPU is not part of its NVLink fabric any more",
    Drill.HANG_DRIVER: "the driver does not answer any more",
    Drill.IB_FLAP: "an InfiniBand port goes down and up again and again",
    Drill.DISK_FULL: "the machine's disk is full",
}
"""What happens, in words."""

OF_THE_CLOUD = frozenset({Drill.NODE_LOSS, Drill.AGENT_LOSS})
"""What a cloud breaks itself; the rest is left to the agent."""

OF_THE_NODE = OF_THE_CLOUD | {Drill.HANG_DRIVER, Drill.IB_FLAP, Drill.DISK_FULL}
"""What concerns the whole node; the rest concerns one GPU of it."""
