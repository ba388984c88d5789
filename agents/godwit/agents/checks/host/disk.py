"""Room on the disks, and mounts that went read-only."""

from godwit.agents.checks.host.reading import Host, HostCheck, Values
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

LEAST_BYTES = 500_000_000
LEAST_INODES = 0.01

FULL = Rule(
    "disk:full", f"< {LEAST_BYTES // 1_000_000} MB free on the root or the data file system", Grade.UNHEALTHY,
    Remedy.REBOOT, "GCM, AZNHC; reboot, then replace", 2, 2,
)  # fmt: skip
INODES = Rule("disk:inodes", "< 1% of the inodes free", Grade.DEGRADED, Remedy.NONE, "gpud disk", 2, 2)
READ_ONLY = Rule(
    "disk:read-only", "the root or the data file system is mounted read-only", Grade.UNHEALTHY, Remedy.REBOOT,
    "gpud disk; NVSentinel", clears="reboot",
)  # fmt: skip


def _read(host: Host) -> Values | None:
    mounts = [line.split() for line in (host.text("proc/mounts") or "").splitlines()]
    states = {parts[1]: parts[3].split(",")[0] for parts in mounts if len(parts) >= 4}
    where = _mount_of(str(host.data), states)
    watched = {mount: states[mount] for mount in {"/", where} if mount in states}
    return {"space": host.space(), "mounts": watched}


def _mount_of(path: str, states: dict[str, str]) -> str:
    above = [mount for mount in states if path == mount or path.startswith(mount.rstrip("/") + "/")]
    return max(above, key=len, default="/")


def _judge(now: Values, before: Values | None, _took_s: float) -> list[Sign]:
    signs = []
    for path, room in now["space"].items():
        free, total = room["free_bytes"], room["total_bytes"]
        if total and free < LEAST_BYTES:
            signs.append(Sign(FULL, f"{free / 1e6:.0f} MB are free on {path}", evidence={"path": path, "free": free}))
        if room["inodes"] > 1_000 and room["free_inodes"] < LEAST_INODES * room["inodes"]:
            signs.append(Sign(INODES, f"{room['free_inodes']} inodes are free on {path}", evidence={"path": path}))
    was = before["mounts"] if before is not None else {}
    # One that was never writable is meant to be so: containers and images mount their root read-only.
    changed = [mount for mount, state in now["mounts"].items() if state == "ro" and was.get(mount) == "rw"]
    return [*signs, *(Sign(READ_ONLY, f"{mount} became read-only", evidence={"path": mount}) for mount in changed)]


CHECK = HostCheck(
    "host-disk", "statvfs of the root and the data folder, /proc/mounts", (FULL, INODES, READ_ONLY), _read, _judge
)
