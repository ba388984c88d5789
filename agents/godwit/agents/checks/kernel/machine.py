"""Lines about the machine around the GPUs: disks, file systems, memory, a kernel that is stuck."""

from godwit.agents.checks.kernel.forms import Form, expression
from godwit.agents.checks.rules import Rule
from godwit.domain.health import Grade, Remedy

_GPUD, _SENTINEL = "gpud disk, memory and os components", "Azure node health checks, gpud"

DISK_DEAD = Rule(
    "disk:failed", "a disk is given up by the kernel, or an array lost one",
    Grade.UNHEALTHY, Remedy.REBOOT, _GPUD, clears="reboot",
)  # fmt: skip
DISK_ERRORS = Rule(
    "disk:errors", "reads or writes of a disk fail", Grade.UNHEALTHY, Remedy.REBOOT, _GPUD, clears="reboot"
)
DISK_SLOW = Rule(
    "disk:timeout", "a disk did not answer in time and its controller was reset", Grade.DEGRADED, Remedy.NONE, _GPUD,
    clears="event",
)  # fmt: skip
FILESYSTEM = Rule(
    "filesystem:broken", "a file system went read-only, or its structure cannot be written",
    Grade.UNHEALTHY, Remedy.REBOOT, _GPUD, clears="reboot",
)  # fmt: skip
OUT_OF_MEMORY = Rule(
    "memory:oom", "the kernel killed a process to get memory (the job's own fault)",
    Grade.DEGRADED, Remedy.NONE, _SENTINEL, clears="event",
)  # fmt: skip
STUCK_DRIVER = Rule(
    "kernel:stuck-driver", "a process of the driver (nvidia*) is blocked", Grade.UNHEALTHY, Remedy.REBOOT,
    "gpud os component", clears="reboot",
)  # fmt: skip
STUCK_TASK = Rule(
    "kernel:stuck-task", "a process is blocked for long (storage, as a rule)", Grade.DEGRADED, Remedy.NONE,
    "Linux hung task detector", clears="event",
)  # fmt: skip
STUCK_KERNEL = Rule(
    "kernel:stuck", "a soft lockup of a CPU, or a panic", Grade.UNHEALTHY, Remedy.REBOOT, "gpud cpu and os components",
    clears="reboot",
)  # fmt: skip
NCCL_CRASH = Rule(
    "program:nccl-segfault", "a program crashed inside NCCL (the job's own fault)",
    Grade.DEGRADED, Remedy.NONE, "gpud nccl component", clears="event",
)  # fmt: skip
FILES = Rule(
    "kernel:file-max", "the kernel has no file handles left", Grade.DEGRADED, Remedy.NONE, "gpud file-descriptor",
    clears="event",
)  # fmt: skip

_DISK = r"(?P<where>(?:nvme|sd|vd|xvd|md|dm-)[\w-]*)"

FORMS: tuple[Form, ...] = (
    Form("disk", "reset controller", expression(r"(?P<where>nvme\d+).*I/O .*timeout, reset controller"), DISK_SLOW),
    Form(
        "disk", "Disabling device after reset failure",
        expression(r"(?P<where>nvme\w*).*Disabling device after reset failure"), DISK_DEAD,
    ),
    Form("disk", "Buffer I/O error on dev", expression(r"Buffer I/O error on dev(?:ice)? " + _DISK), DISK_ERRORS),
    Form("disk", "Disk failure", expression(r"md/raid.*Disk failure"), DISK_DEAD),
    Form("disk", "no available path", expression(r"no available path - failing I/O"), DISK_DEAD),
    Form(
        "filesystem", "filesystem read-only", expression(r"Remounting filesystem read-only"), FILESYSTEM,
        "a file system was made read-only after an error",
    ),
    Form(
        "filesystem", "attempt to access beyond end of device", expression("attempt to access beyond end of device"),
        FILESYSTEM, "a file system reaches beyond the end of its device",
    ),
    Form(
        "filesystem", "I/O error while writing superblock", expression("I/O error while writing superblock"),
        FILESYSTEM, "the superblock of a file system cannot be written",
    ),
    Form(
        "out-of-memory", "oom-kill:constraint=",
        expression(r"oom-kill:constraint=.*task=(?P<name>[^,]+),pid=(?P<pid>\d+)"), OUT_OF_MEMORY,
    ),
    Form(
        "out-of-memory", "Killed process", expression(r"Killed process (?P<pid>\d+) \((?P<name>.+?)\)"), OUT_OF_MEMORY
    ),
    Form("out-of-memory", "invoked oom-killer", expression("(?P<name>\\S+) invoked oom-killer"), OUT_OF_MEMORY),
    Form(
        "stuck-kernel", "blocked for more than",
        expression(r"task (?P<name>nvidia[^:]*):(?P<pid>\d+) blocked for more than \d+ seconds"), STUCK_DRIVER,
    ),
    Form(
        "stuck-kernel", "blocked for more than",
        expression(r"task (?P<name>\S+):(?P<pid>\d+) blocked for more than \d+ seconds"), STUCK_TASK,
    ),
    Form("stuck-kernel", "soft lockup", expression(r"soft lockup - CPU#(?P<cpu>\d+) stuck for \d+s!"), STUCK_KERNEL),
    Form("stuck-kernel", "Kernel panic", expression("Kernel panic"), STUCK_KERNEL),
    Form("program", "in libnccl", expression(r"segfault at .* in libnccl\.so"), NCCL_CRASH),
    Form("stuck-kernel", "file-max limit", expression(r"VFS: file-max limit \d+ reached"), FILES),
)  # fmt: skip
