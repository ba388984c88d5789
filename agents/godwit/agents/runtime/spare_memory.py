"""How much memory this machine, or the container around this process, can still give."""

from pathlib import Path

_CGROUP = Path("sys/fs/cgroup")


def available_bytes(root: Path = Path("/")) -> int:
    """The least of what the kernel says for the machine and what the control group (version 2) leaves; `root` is `/`.

    A group's file cache counts as free, as the kernel's own figure does: it gives way.
    """
    most = _of_machine((root / "proc/meminfo").read_text())
    try:
        limit = (root / _CGROUP / "memory.max").read_text().strip()
        used = int((root / _CGROUP / "memory.current").read_text())
        kept = (root / _CGROUP / "memory.stat").read_text()
    except (OSError, ValueError):
        return most  # no group of its own, or an older kind: the machine's figure has to do
    return most if limit == "max" else max(0, min(most, int(limit) - used + _cache(kept)))


def _of_machine(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _cache(text: str) -> int:
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("inactive_file "))
