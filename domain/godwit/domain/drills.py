"""Fire drills: what may be broken on purpose, to see that the fleet heals.

A cloud that can be drilled breaks one of its machines. What it cannot break itself it leaves to the machine's agent, as
a file `faults/NAME.json` in the agent's folder that holds `{"fault": <kind>, "gpu": <index or null>}`: the agent then
shows what a real fault of this kind shows (counters of the driver, lines of the kernel's log), to the same checks.
What is wrong with a program is done to the program itself: its processes stand still or are slowed, or its report of a
step has a loss that is no number.
"""

from collections.abc import Mapping
from enum import StrEnum


class Drill(StrEnum):
    """What to break."""

    NODE_LOSS = "node-loss"
    AGENT_LOSS = "agent-loss"
    SPOT_NOTICE = "spot-notice"
    GPU_LOST = "gpu-lost"
    GPU_MISSING = "gpu-missing"
    GPU_RESET_REQUIRED = "gpu-reset-required"
    ECC_UNCORRECTED = "ecc-uncorrected"
    ECC_UNCONTAINED = "ecc-uncontained"
    ECC_CONTAINED = "ecc-contained"
    ECC_CORRECTED = "ecc-corrected"
    SRAM_THRESHOLD = "sram-threshold"
    ECC_OFF = "ecc-off"
    ROW_REMAP_FAILURE = "row-remap-failure"
    ROW_REMAP_PENDING = "row-remap-pending"
    REPAIR_PENDING = "repair-pending"
    NVLINK_FATAL = "nvlink-fatal"
    NVLINK5_FATAL = "nvlink5-fatal"
    NVLINK_CRC = "nvlink-crc"
    NVLINK_RETRIES = "nvlink-retries"
    THERMAL = "thermal"
    POWER_BRAKE = "power-brake"
    POWER_LIMIT = "power-limit"
    PCIE_NARROW = "pcie-narrow"
    PCIE_REPLAYS = "pcie-replays"
    PCIE_FATAL = "pcie-fatal"
    FABRIC = "fabric"
    PEER_ACCESS = "peer-access"
    INFOROM = "inforom"
    RECOVERY_RESET = "recovery-reset"
    RECOVERY_REBOOT = "recovery-reboot"
    LEFTOVERS = "leftovers"
    VERSIONS = "versions"
    SLOW = "slow"
    SILENT_CORRUPTION = "silent-corruption"
    XID_13 = "xid-13"
    XID_31 = "xid-31"
    XID_43 = "xid-43"
    XID_45 = "xid-45"
    DRIVER_HANG = "driver-hang"
    DRIVER_MISMATCH = "driver-mismatch"
    SWITCH_FATAL = "switch-fatal"
    IB_FLAP = "ib-flap"
    IB_DOWN = "ib-down"
    NIC_DEAD = "nic-dead"
    DISK_FULL = "disk-full"
    DISK_ERRORS = "disk-errors"
    READ_ONLY = "read-only"
    OUT_OF_MEMORY = "out-of-memory"
    STUCK_KERNEL = "stuck-kernel"
    STRAGGLER = "straggler"
    HANG = "hang"
    LOSS_NAN = "loss-nan"
    MEND = "mend"


TOLD: Mapping[Drill, str] = {
    Drill.NODE_LOSS: "cut the power of the machine",
    Drill.AGENT_LOSS: "kill the node's agent; its jobs go on, and it is started again",
    Drill.SPOT_NOTICE: "the cloud says that it takes a spot machine back in two minutes, and does",
    Drill.GPU_LOST: "the GPU falls off the bus (Xid 79)",
    Drill.GPU_MISSING: "the GPU is not listed any more",
    Drill.GPU_RESET_REQUIRED: "the GPU answers no call until it is reset",
    Drill.ECC_UNCORRECTED: "an uncorrectable memory error (Xid 48)",
    Drill.ECC_UNCONTAINED: "an uncorrectable memory error that was not contained (Xid 95)",
    Drill.ECC_CONTAINED: "an uncorrectable memory error that ends one program (Xid 94)",
    Drill.ECC_CORRECTED: "very many corrected memory errors",
    Drill.SRAM_THRESHOLD: "the SRAM had more errors than it may",
    Drill.ECC_OFF: "ECC is off",
    Drill.ROW_REMAP_FAILURE: "a memory row cannot be remapped (Xid 64)",
    Drill.ROW_REMAP_PENDING: "a memory row was remapped and waits for a reset (Xid 63)",
    Drill.REPAIR_PENDING: "a repair waits for a reset",
    Drill.NVLINK_FATAL: "an NVLink fails (Xid 74)",
    Drill.NVLINK5_FATAL: "an NVLink 5 loses its signal (Xid 149)",
    Drill.NVLINK_CRC: "many CRC errors on an NVLink",
    Drill.NVLINK_RETRIES: "an NVLink replays",
    Drill.THERMAL: "the GPU is too hot and slows down",
    Drill.POWER_BRAKE: "the machine's power supply holds the GPU down",
    Drill.POWER_LIMIT: "the GPU's power is limited",
    Drill.PCIE_NARROW: "the GPU has half of its PCIe lanes",
    Drill.PCIE_REPLAYS: "the PCIe link replays",
    Drill.PCIE_FATAL: "a fatal error of the PCIe bus",
    Drill.FABRIC: "the GPU's NVLink fabric is unhealthy",
    Drill.PEER_ACCESS: "the GPU does not reach its peers",
    Drill.INFOROM: "the GPU's InfoROM is corrupted",
    Drill.RECOVERY_RESET: "the GPU asks for a reset",
    Drill.RECOVERY_REBOOT: "the GPU asks for a reboot",
    Drill.LEFTOVERS: "processes of nobody are on the GPU",
    Drill.VERSIONS: "the GPU has another VBIOS",
    Drill.SLOW: "the GPU computes slower than its peers; only computing on it shows that",
    Drill.SILENT_CORRUPTION: "the GPU computes wrongly; only computing on it shows that",
    Drill.XID_13: "a program makes a mistake (Xid 13); nothing is to be done about the GPU",
    Drill.XID_31: "a program reads where it may not (Xid 31)",
    Drill.XID_43: "a program's channel stops (Xid 43)",
    Drill.XID_45: "a program was ended (Xid 45)",
    Drill.DRIVER_HANG: "the driver answers no call",
    Drill.DRIVER_MISMATCH: "the driver was upgraded without a reboot",
    Drill.SWITCH_FATAL: "a link of an NVSwitch fails",
    Drill.IB_FLAP: "an InfiniBand port lost its link and came back",
    Drill.IB_DOWN: "an InfiniBand port is down",
    Drill.NIC_DEAD: "a network card does not answer commands",
    Drill.DISK_FULL: "the disk is full",
    Drill.DISK_ERRORS: "the disk fails",
    Drill.READ_ONLY: "the root file system went read-only",
    Drill.OUT_OF_MEMORY: "the kernel killed a process to get memory",
    Drill.STUCK_KERNEL: "a CPU is stuck in the kernel",
    Drill.STRAGGLER: "one process of the program is slowed; INDEX is its place on the node, the last if none is named",
    Drill.HANG: "one process of the program stands still; INDEX as for a straggler",
    Drill.LOSS_NAN: "the program reports a loss that is no number, once",
    Drill.MEND: "end every fault that was injected before",
}
"""What happens, in words."""

OF_THE_CLOUD = frozenset({Drill.NODE_LOSS, Drill.AGENT_LOSS, Drill.SPOT_NOTICE})
"""What a cloud breaks itself; the rest is left to the agent."""

OF_THE_NODE = OF_THE_CLOUD | {
    Drill.DRIVER_HANG,
    Drill.DRIVER_MISMATCH,
    Drill.SWITCH_FATAL,
    Drill.IB_FLAP,
    Drill.IB_DOWN,
    Drill.NIC_DEAD,
    Drill.DISK_FULL,
    Drill.DISK_ERRORS,
    Drill.READ_ONLY,
    Drill.OUT_OF_MEMORY,
    Drill.STUCK_KERNEL,
    Drill.MEND,
}
"""What concerns the whole node; the rest concerns one GPU of it, or the program that runs there."""

OF_THE_WORK = frozenset({Drill.STRAGGLER, Drill.HANG, Drill.LOSS_NAN})
"""What befalls a program that runs on the node. Whoever starts after it is well."""
