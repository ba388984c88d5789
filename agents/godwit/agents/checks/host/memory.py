"""Memory, open files and processes of the machine."""

from godwit.agents.checks.host.reading import Host, HostCheck, Values
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

LEAST_MEMORY, MANY_FILES, TOO_MANY_FILES = 0.02, 0.80, 0.95
ZOMBIES, TOO_MANY_ZOMBIES = 1_000, 2_000
STUCK_POLLS = 5

LOW = Rule(
    "memory:low", "< 2% of the memory available, in 3 of 5 polls", Grade.DEGRADED, Remedy.NONE, "gpud memory", 3, 5
)
FILES = Rule(
    "files:many", "> 80% of the file handles in use", Grade.DEGRADED, Remedy.NONE, "gpud file-descriptor", 2, 2
)
NO_FILES = Rule(
    "files:spent", "> 95% of the file handles in use", Grade.UNHEALTHY, Remedy.REBOOT, "gpud file-descriptor", 2, 2
)
DEAD = Rule("processes:zombies", f">= {ZOMBIES} zombies", Grade.DEGRADED, Remedy.NONE, "gpud os", 2, 2)
TOO_DEAD = Rule(
    "processes:too-many-zombies", f">= {TOO_MANY_ZOMBIES} zombies", Grade.UNHEALTHY, Remedy.REBOOT, "gpud os", 2, 2
)
STUCK = Rule(
    "processes:stuck-driver", f"a process called nvidia* in state D in {STUCK_POLLS} polls in a row", Grade.UNHEALTHY,
    Remedy.REBOOT, "gpud", STUCK_POLLS, STUCK_POLLS,
)  # fmt: skip


def _read(host: Host) -> Values | None:
    lines = (line.split() for line in (host.text("proc/meminfo") or "").splitlines())
    memory = {parts[0].rstrip(":"): int(parts[1]) for parts in lines if len(parts) >= 2 and parts[1].isdigit()}
    handles = (host.text("proc/sys/fs/file-nr") or "").split()
    zombies, stuck = _processes(host)
    if not memory and not handles:
        return None
    return {
        "total": memory.get("MemTotal", 0),
        "available": memory.get("MemAvailable", memory.get("MemTotal", 0)),
        "files": int(handles[0]) / int(handles[2]) if len(handles) == 3 and int(handles[2]) else 0.0,
        "zombies": zombies,
        "stuck": stuck,
    }


def _processes(host: Host) -> tuple[int, list[str]]:
    zombies, stuck = 0, []
    for name in host.folders("proc"):
        if not name.isdigit():
            continue
        stat = host.text(f"proc/{name}/stat") or ""
        called, state = stat[stat.find("(") + 1 : stat.rfind(")")], stat[stat.rfind(")") + 2 :][:1]
        zombies += state == "Z"
        if state == "D" and called.startswith("nvidia"):
            stuck.append(f"{called} ({name})")
    return zombies, stuck


def _judge(now: Values, _before: Values | None, _took_s: float) -> list[Sign]:
    signs = []
    if now["total"] and now["available"] < LEAST_MEMORY * now["total"]:
        signs.append(Sign(LOW, f"{now['available'] // 1024} MiB of memory are available"))
    for rule, share in ((FILES, MANY_FILES), (NO_FILES, TOO_MANY_FILES)):
        if now["files"] > share:
            signs.append(Sign(rule, f"{now['files']:.0%} of the file handles are in use"))
    for rule, most in ((DEAD, ZOMBIES), (TOO_DEAD, TOO_MANY_ZOMBIES)):
        if now["zombies"] >= most:
            signs.append(Sign(rule, f"{now['zombies']} zombies", evidence={"zombies": now["zombies"]}))
    if now["stuck"]:
        names = ", ".join(now["stuck"][:8])
        signs.append(Sign(STUCK, f"processes of the driver are stuck in the kernel: {names}", evidence={"who": names}))
    return signs


CHECK = HostCheck(
    "host-memory", "/proc/meminfo, /proc/sys/fs/file-nr, /proc/PID/stat", (LOW, FILES, NO_FILES, DEAD, TOO_DEAD, STUCK),
    _read, _judge,
)  # fmt: skip
