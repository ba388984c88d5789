"""Every class of fault that a simulated node can have: what of it shows, and what ends it. Data, and no more.

The lines are those that public bug reports show for such faults, the values those of NVML's documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LOST, RESET_REQUIRED, CORRUPTED, MISMATCH = ({"error": code} for code in (15, 16, 14, 18))

Clears = Literal["reset", "reboot", "person"]


@dataclass(frozen=True)
class Fault:
    """One class of fault.

    `says` is one sentence. `values` are calls and what they answer, of the GPU ("*": all of its calls), or of the
    driver (`of_driver`). `lines` are written to the kernel log, with {pci} for the address. `files` are files of the
    node's /proc and /sys that change. A fault with none of these shows only to active checks or to the job.
    """

    says: str
    clears: Clears = "reset"
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    of_driver: bool = False


def _xid(number: int, text: str) -> str:
    return f"NVRM: Xid (PCI:{{pci}}): {number}, pid='<unknown>', name=<unknown>, {text}"


_WHOLE_FABRIC = {"state": 3, "status": 0, "healthMask": 0}
_PORT = "sys/class/infiniband/mlx5_0/ports/1"

ON_GPU: dict[str, Fault] = {
    "gpu-lost": Fault(
        "the GPU falls off the bus", "reboot", {"*": LOST}, (_xid(79, "GPU has fallen off the bus."),)
    ),
    "gpu-missing": Fault("the GPU is not listed any more", "reboot", {"absent": True}),
    "gpu-reset-required": Fault("the GPU answers no call until it is reset", "reset", {"*": RESET_REQUIRED}),
    "ecc-uncorrected": Fault(
        "an uncorrectable memory error", "reset", {"nvmlDeviceGetTotalEccErrors(1, 0)": 1, "field(230)": 1},
        (_xid(48, "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer."),),
    ),
    "ecc-uncontained": Fault(
        "an uncorrectable memory error that was not contained", "reset", {"nvmlDeviceGetTotalEccErrors(1, 0)": 1},
        (_xid(95, "Uncontained: LTC TAG (0x2,0x1). RST: Yes, D-RST: No"),),
    ),
    "ecc-contained": Fault(
        "an uncorrectable memory error that ends one program", "reset", {},
        ("NVRM: Xid (PCI:{pci}): 94, pid=2503421, name=python3, Ch 00000008",),
    ),
    "ecc-corrected": Fault(
        "very many corrected memory errors", "reset", {"nvmlDeviceGetTotalEccErrors(0, 0)": 60_000_000}
    ),
    "sram-threshold": Fault(
        "the SRAM had more errors than it may", "person",
        {"nvmlDeviceGetSramEccErrorStatus()": {"bThresholdExceeded": 1}},
    ),
    "ecc-off": Fault("ECC is off", "person", {"nvmlDeviceGetEccMode()": [0, 0]}),
    "row-remap-failure": Fault(
        "a memory row cannot be remapped", "person",
        {"nvmlDeviceGetRemappedRows()": [0, 1, 0, 1], "nvmlDeviceGetTotalEccErrors(1, 0)": 1},
        (
            _xid(48, "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer."),
            _xid(64, "Row Remapper Error: (0x00000002eebc4100) - All reserved rows for bank are remapped"),
        ),
    ),
    "row-remap-pending": Fault(
        "a memory row was remapped and waits for a reset", "reset", {"nvmlDeviceGetRemappedRows()": [0, 1, 1, 0]},
        ("NVRM: Xid (PCI:{pci}): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.",),
    ),
    "repair-pending": Fault("a repair waits for a reset", "reset", {"nvmlDeviceGetRepairStatus()": [1, 0]}),
    "nvlink-fatal": Fault(
        "an NVLink fails", "reset", {"nvmlDeviceGetNvLinkState(14)": 0, "nvmlDeviceGetNvLinkState(3)": 0},
        (_xid(74, "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"),),
    ),
    "nvlink5-fatal": Fault(
        "an NVLink 5 loses its signal", "reset", {"nvmlDeviceGetNvLinkState(8)": 0},
        (
            "NVRM: Xid (PCI:{pci}): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 "
            "0x00000000 0x00000000 0x00000000 0x00000000)",
        ),
    ),
    "nvlink-crc": Fault(
        "many CRC errors on an NVLink", "reset", {"nvmlDeviceGetNvLinkErrorCounter(3, 2)": {"per_s": 500}}
    ),
    "nvlink-retries": Fault("an NVLink replays", "reset", {"nvmlDeviceGetNvLinkErrorCounter(3, 0)": {"per_s": 5}}),
    "thermal": Fault(
        "the GPU is too hot and slows down", "person",
        {
            "nvmlDeviceGetCurrentClocksEventReasons()": 0x40, "nvmlDeviceGetMarginTemperature()": -4,
            "nvmlDeviceGetTemperature(0)": 93,
        },
    ),
    "power-brake": Fault(
        "the machine's power supply holds the GPU down", "person", {"nvmlDeviceGetCurrentClocksEventReasons()": 0x80}
    ),
    "power-limit": Fault("the GPU's power is limited", "person", {"nvmlDeviceGetEnforcedPowerLimit()": 200_000}),
    "pcie-narrow": Fault("the GPU has half of its PCIe lanes", "reboot", {"nvmlDeviceGetCurrPcieLinkWidth()": 8}),
    "pcie-replays": Fault("the PCIe link replays", "reboot", {"nvmlDeviceGetPcieReplayCounter()": {"per_s": 10}}),
    "pcie-fatal": Fault(
        "a fatal error of the PCIe bus", "reboot", {},
        ("pcieport 0000:00:02.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, "
         "id=0010(Receiver ID)",),
    ),
    "fabric": Fault(
        "the GPU's NVLink fabric is unhealthy", "reset",
        {"nvmlDeviceGetGpuFabricInfoV()": {**_WHOLE_FABRIC, "healthSummary": 2}},
    ),
    "peer-access": Fault("the GPU does not reach its peers", "reset", {"nvmlDeviceGetP2PStatus(2)": 1}),
    "inforom": Fault("the GPU's InfoROM is corrupted", "person", {"nvmlDeviceValidateInforom()": CORRUPTED}),
    "recovery-reset": Fault(
        "the GPU asks for a reset", "reset", {"field(230)": 1},
        ("NVRM: Xid (PCI:{pci}): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",),
    ),
    "recovery-reboot": Fault(
        "the GPU asks for a reboot", "reboot", {"field(230)": 2},
        ("NVRM: Xid (PCI:{pci}): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",),
    ),
    "leftovers": Fault(
        "processes of nobody are on the GPU", "reset",
        {"nvmlDeviceGetMemoryInfo(33554472)": {"total": 85899345920, "used": 4294967296, "free": 0, "reserved": 0}},
    ),
    "versions": Fault("the GPU has another VBIOS", "person", {"nvmlDeviceGetVbiosVersion()": "96.00.30.00.01"}),
    "slow": Fault("the GPU computes slower than its peers; only computing on it shows that", "reset"),
    "silent-corruption": Fault("the GPU computes wrongly; only computing on it shows that", "person"),
}  # fmt: skip

APPLICATION_LINES = {
    13: _xid(13, "Graphics SM Warp Exception on (GPC 1, TPC 3, SM 0): Out Of Range Address"),
    31: "NVRM: Xid (PCI:{pci}): 31, pid=2079991, name=pt_main_thread, Ch 00000007, intr 00000000. MMU Fault: ENGINE "
        "GRAPHICS GPCCLIENT_T1_6 faulted @ 0x7f5a_e7504000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    43: _xid(43, "Ch 00000010"),
    45: _xid(45, "Ch 00000010"),
}  # fmt: skip
"""What programs raise by their own faults."""

ON_NODE: dict[str, Fault] = {
    "driver-hang": Fault("the driver answers no call", "reboot", {"blocks": True}, of_driver=True),
    "driver-mismatch": Fault(
        "the driver was upgraded without a reboot", "reboot", {"nvmlInit()": MISMATCH}, of_driver=True
    ),
    "switch-fatal": Fault(
        "a link of an NVSwitch fails", "reboot", {},
        ("nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",),
    ),
    "ib-flap": Fault("an InfiniBand port lost its link and came back", "reboot", files={
        f"{_PORT}/counters/link_downed": "1\n",
    }),
    "ib-down": Fault("an InfiniBand port is down", "reboot", files={
        f"{_PORT}/state": "1: DOWN\n", f"{_PORT}/phys_state": "3: Disabled\n",
    }),
    "nic-dead": Fault(
        "a network card does not answer commands", "reboot", {},
        ("mlx5_core 0000:3b:00.0: ENABLE_HCA(0x104) timeout. Will cause a leak of a command resource",),
    ),
    "disk-full": Fault("the disk is full", "reboot", files={
        "statvfs.json": '{"/": {"free_bytes": 1000000, "total_bytes": 1000000000000, "free_inodes": 9, "inodes": 10}}',
    }),
    "disk-errors": Fault(
        "the disk fails", "reboot", {}, ("Buffer I/O error on dev nvme0n1, logical block 0, lost async page write",)
    ),
    "read-only": Fault(
        "the root file system went read-only", "reboot", {},
        ("EXT4-fs (nvme0n1p1): Remounting filesystem read-only",), {"proc/mounts": "/dev/nvme0n1p1 / ext4 ro 0 0\n"},
    ),
    "out-of-memory": Fault(
        "the kernel killed a process to get memory", "reboot", {},
        ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,task_memcg=/,task=python,pid=4242,uid=0",
         "Out of memory: Killed process 4242 (python) total-vm:1kB, anon-rss:1kB"),
    ),
    "stuck-kernel": Fault(
        "a CPU is stuck in the kernel", "reboot", {},
        ("watchdog: BUG: soft lockup - CPU#17 stuck for 22s! [python:123]",),
    ),
}  # fmt: skip

ON_WORK: dict[str, Fault] = {
    "straggler": Fault("one process of the program is slowed", "person"),
    "hang": Fault("one process of the program stands still", "person"),
    "loss-nan": Fault("the program reports a loss that is no number", "person"),
}
"""What befalls a program (see `godwit.agents.checks.work.drilled`); nothing of the machine shows it."""


def named(name: str) -> Fault | None:
    """The fault of this name; "xid-13" and "xid:13" are the line of that number. None: there is none."""
    kind, _, number = name.replace(":", "-").partition("-")
    if kind == "xid" and number.isdigit():
        line = APPLICATION_LINES.get(int(number), _xid(int(number), "injected on purpose"))
        return Fault(f"the driver says Xid {number}", lines=(line,))
    return ON_GPU.get(name) or ON_NODE.get(name) or ON_WORK.get(name)
