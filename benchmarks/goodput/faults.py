"""Kinds of trouble: the lines and values that a node shows, what the job suffers, and what ends it.

The lines have the form of public bug reports and of the driver's own source; `{pci}` is the GPU's bus id as the kernel
writes it, `{nic}` that of the network card.
"""

from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.health import Remedy


class Effect(StrEnum):
    """What a job notices whose node this strikes."""

    NONE = "none"
    CRASH = "crash"
    HANG = "hang"
    SLOW = "slow"
    DEAD = "dead"
    CORRUPT = "corrupt"


class Nature(StrEnum):
    """Whose fault it is. Only `hardware` justifies to take a node out."""

    HARDWARE = "hardware"
    PROGRAM = "program"
    HARMLESS = "harmless"
    ALARM = "alarm"


@dataclass(frozen=True)
class Kind:
    """`ends_with` are the weakest remedies that end it, with their shares; beyond them only another machine does.

    `shows` names the fault of the fake accelerators whose NVML values the node shows. `lasts_s`: it passes by itself.
    `blocks`: a start on it fails. `again_s`: the mean time until it strikes again. `tested`: the share of active
    checks that find it. `resists`: a reset that it does not end fails visibly. `tolerable`: to go on with it is right.
    """

    name: str
    nature: Nature
    effect: Effect
    lines: tuple[str, ...] = ()
    shows: str = ""
    ends_with: tuple[tuple[Remedy, float], ...] = ()
    lasts_s: float | None = None
    blocks: bool = False
    again_s: float = 3_600.0
    tested: float = 0.95
    resists: bool = False
    tolerable: bool = False
    rate: float = 1.0

    @property
    def is_of_network(self) -> bool:
        """Whether it lies outside of what one node can test by itself."""
        return self.shows == "ib-down" or self.name == "nic-dead"

    @property
    def readings(self) -> int:
        """How many readings of its values may tell something new: heat is judged over 10 min, a port over 4."""
        return 0 if not self.shows else 24 if self.effect is Effect.SLOW else 9 if self.is_of_network else 2

    def remedy(self, draw: float) -> Remedy:
        """The weakest remedy that ends this one; `draw` from [0, 1)."""
        for remedy, share in self.ends_with:
            if draw < share:
                return remedy
            draw -= share
        return Remedy.REPLACE_NODE


_RESET, _REBOOT = Remedy.RESET_GPU, Remedy.REBOOT
_X = "NVRM: Xid (PCI:{pci}): "
_WHO = "pid='<unknown>', name=<unknown>, "
_DBE = _X + "48, " + _WHO + "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer."
_MARKED = _X + "63, " + _WHO + "Row Remapper: New row marked for remapping, reset gpu to activate."
_FULL = _X + "64, " + _WHO + "Row Remapper Error: (0x00000002eebc4100) - All reserved rows for bank are remapped"
_OFF = _X + "79, " + _WHO + "GPU has fallen off the bus."
_OFF_TOO = "NVRM: GPU {pci}.0: GPU has fallen off the bus."
_WANTS_REBOOT = _X + "154, " + _WHO + "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"
_GSP = _X + "119, pid=4711, name=python3, Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected 76."
_GSP_TASK = _X + "120, " + _WHO + "GSP task exception: code:0x1, pc:0x1b3c4d8, partition:4"
_HALT = _X + "62, " + _WHO + "2027(2d24) 00000000 00000000"
_NVLINK = _X + "74, " + _WHO + "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"
_NVLINK_ECC = _X + "74, " + _WHO + "NVLink: fatal error detected on link 3(0x30, 0x0, 0x4, 0x0, 0x0, 0x0, 0x0)"
_UNCONTAINED = _X + "95, " + _WHO + "Uncontained: FBHUB. RST: Yes, D-RST: No"
_CONTAINED = _X + "94, pid=4711, name=python3, Ch 00000008"
_SM = _X + "13, " + _WHO + "Graphics SM Warp Exception on (GPC {gpc}, TPC {tpc}, SM 0): Out Of Range Address"
_MMU = (
    _X + "31, pid=4711, name=python3, Ch 00000007, intr 00000000. MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_6 "
    "faulted @ 0x7f5a_e7504000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ"
)
_KILLED = _X + "43, pid=4711, name=python3, Ch 00000010"
_CLEANUP = _X + "45, pid=4711, name=python3, Ch 00000008"
_OOM = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,task=python3,pid=4711,uid=0"
_SEGFAULT = (
    "python3[4711]: segfault at 10 ip 00007f5ae750 sp 00007ffd error 4 in libnccl.so.2.21.5[7f5ae7000000+9e00000]"
)
_NIC = "mlx5_core {nic}: ENABLE_HCA(0x104) timeout. Will cause a leak of a command resource"
_CABLE = "mlx5_core {nic}: Port module event[error]: module 0, Cable error, Cable unplugged"
_LINK_DOWN = "mlx5_core {nic} ib0: Link down"
_LINK_UP = "mlx5_core {nic} ib0: Link up"
_DISK = "Buffer I/O error on dev nvme0n1, logical block 0, async page read"
_READ_ONLY = "EXT4-fs (nvme0n1p1): Remounting filesystem read-only"
_AER_FATAL = "pcieport 0000:00:02.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, id=0010"
_AER = "pcieport 0000:00:02.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Transmitter ID)"
_REGISTER = "mlx5_core {nic}: mlx5_cmd_out_err:808:(pid 4711): ACCESS_REG(0x805) op_mod(0x1) failed, status bad"

_HW, _PROGRAM = Nature.HARDWARE, Nature.PROGRAM
_NEVER: tuple[tuple[Remedy, float], ...] = ()

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("gpu-lost", _HW, Effect.CRASH, (_OFF, _OFF_TOO), "gpu-lost", ((_REBOOT, 0.7),), blocks=True, resists=True),
        Kind("gpu-lost-154", _HW, Effect.CRASH, (_OFF, _WANTS_REBOOT), "gpu-lost", ((_REBOOT, 0.7),), blocks=True,
             resists=True),
        Kind("gsp-timeout", _HW, Effect.HANG, (_GSP,), "", ((_RESET, 0.7), (_REBOOT, 0.25)), blocks=True),
        Kind("gsp-task", _HW, Effect.CRASH, (_GSP_TASK, _CLEANUP), "", ((_RESET, 0.7), (_REBOOT, 0.25)), blocks=True),
        Kind("gpu-halt", _HW, Effect.CRASH, (_HALT, _CLEANUP), "", ((_RESET, 0.6), (_REBOOT, 0.2)), blocks=True),
        Kind("nvlink", _HW, Effect.CRASH, (_NVLINK, _CLEANUP), "nvlink-fatal", ((_RESET, 0.6),), again_s=1_800.0),
        Kind("nvlink-ecc", _HW, Effect.CRASH, (_NVLINK_ECC,), "nvlink-fatal", ((_RESET, 0.6),), again_s=1_800.0),
        Kind("uncontained", _HW, Effect.CRASH, (_UNCONTAINED, _CLEANUP), "ecc-uncorrected", ((_RESET, 0.8),),
             blocks=True),
        Kind("quiet-gpu", _HW, Effect.HANG, (), "", ((_REBOOT, 0.4),), again_s=1_800.0, tested=0.8),
        Kind("hbm-remapped", _HW, Effect.CRASH, (_DBE, _MARKED, _CLEANUP), "row-remap-pending", ((_RESET, 0.95),),
             again_s=14_400.0),
        Kind("hbm-full", _HW, Effect.CRASH, (_DBE, _FULL), "row-remap-failure", _NEVER, again_s=7_200.0),
        Kind("hbm-contained", _HW, Effect.CRASH, (_CONTAINED, _MARKED), "row-remap-pending", ((_RESET, 0.95),),
             again_s=86_400.0, tolerable=True),
        Kind("sram", _HW, Effect.CRASH, (_DBE, _CLEANUP), "sram-threshold", _NEVER, again_s=14_400.0),
        Kind("nic-dead", _HW, Effect.CRASH, (_NIC,), "", ((_REBOOT, 0.2),), blocks=True, tested=0.5),
        Kind("cable", _HW, Effect.CRASH, (_CABLE, _LINK_DOWN), "ib-down", _NEVER, lasts_s=14_400.0, blocks=True),
        Kind("switch", _HW, Effect.CRASH, (_LINK_DOWN,), "ib-down", _NEVER, lasts_s=1_200.0, blocks=True),
        Kind("driver", _HW, Effect.CRASH, (_GSP,), "", ((_REBOOT, 1.0),), lasts_s=600.0, blocks=True),
        Kind("host-gone", _HW, Effect.DEAD, (), "", _NEVER, blocks=True),
        Kind("disk", _HW, Effect.CRASH, (_DISK, _READ_ONLY), "disk-read-only", ((_REBOOT, 0.5),), blocks=True),
        Kind("board", _HW, Effect.CRASH, (_AER_FATAL, _OFF), "gpu-lost", ((_REBOOT, 0.3),), blocks=True, resists=True),
        Kind("thermal", _HW, Effect.SLOW, (), "thermal", ((_REBOOT, 0.2),), rate=0.7),
        Kind("straggler", _HW, Effect.SLOW, (), "", ((_REBOOT, 0.1),), rate=0.9, tested=0.9),
        Kind("corruption", _HW, Effect.CORRUPT, (), "", _NEVER, again_s=7_200.0, tested=0.7),
        Kind("exception", _PROGRAM, Effect.CRASH),
        Kind("out-of-memory", _PROGRAM, Effect.CRASH, (_OOM,)),
        Kind("segfault", _PROGRAM, Effect.CRASH, (_SEGFAULT,)),
        Kind("xid-13", _PROGRAM, Effect.CRASH, (_SM, _KILLED)),
        Kind("xid-31", _PROGRAM, Effect.CRASH, (_MMU, _CLEANUP)),
        Kind("stubborn-31", _PROGRAM, Effect.CRASH, (_MMU,)),
        Kind("deadlock", _PROGRAM, Effect.HANG),
        Kind("row-marked", Nature.HARMLESS, Effect.NONE, (_MARKED,), "row-remap-pending", ((_RESET, 1.0),)),
        Kind("hot-moment", Nature.ALARM, Effect.NONE, (), "thermal", lasts_s=20.0),
        Kind("corrected", Nature.ALARM, Effect.NONE, (_AER,), "", lasts_s=1.0),
        Kind("register", Nature.ALARM, Effect.NONE, (_REGISTER,), "", lasts_s=1.0),
        Kind("blink", Nature.ALARM, Effect.NONE, (_LINK_DOWN, _LINK_UP), "", lasts_s=1.0),
        Kind("killed-elsewhere", Nature.ALARM, Effect.NONE, (_KILLED,), "", lasts_s=1.0),
    )
}  # fmt: skip
"""What ends a fault how often, how soon it strikes again and how often a test finds it are choices, in the range of
what gpud, NVSentinel and ByteRobust report (two reboots before an inspection; the vendor's tests find 70 % of silent
corruption)."""


@dataclass(frozen=True)
class Category:
    """A row of Llama 3's table: how many of the 419, and as what they show, by weight."""

    name: str
    count: int
    kinds: tuple[tuple[str, float], ...]


MIX: tuple[Category, ...] = (
    Category("faulty GPU", 148, (
        ("gpu-lost", 0.2), ("gpu-lost-154", 0.2), ("gpu-halt", 0.15), ("nvlink", 0.1), ("nvlink-ecc", 0.1),
        ("uncontained", 0.15), ("quiet-gpu", 0.1),
    )),
    Category("HBM3", 72, (("hbm-remapped", 0.5), ("hbm-full", 0.2), ("hbm-contained", 0.3))),
    Category("software bug", 54, (
        ("exception", 0.4), ("out-of-memory", 0.1), ("segfault", 0.1), ("xid-13", 0.2), ("xid-31", 0.2),
    )),
    Category("switch or cable", 35, (("cable", 0.6), ("switch", 0.4))),
    Category("host maintenance", 32, (("host-gone", 1.0),)),
    Category("SRAM", 19, (("sram", 1.0),)),
    Category("system processor", 17, (("gsp-timeout", 0.6), ("gsp-task", 0.4))),
    Category("NIC", 7, (("nic-dead", 1.0),)),
    Category("NCCL watchdog", 7, (("deadlock", 0.6), ("quiet-gpu", 0.4))),
    Category("silent data corruption", 6, (("corruption", 1.0),)),
    Category("thermal", 6, (("thermal", 1.0),)),
    Category("the rest", 16, (("disk", 0.3), ("host-gone", 0.4), ("board", 0.3))),
)  # fmt: skip
"""Interruptions of Llama 3 405B over 54 days (arXiv 2407.21783, table 5). The weights within a row are choices."""

ALARMS = ("hot-moment", "corrected", "register", "blink", "killed-elsewhere")
