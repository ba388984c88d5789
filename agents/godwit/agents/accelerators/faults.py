"""Faults on purpose: injected into a simulated node's folder, shown by its fake driver and kernel, and ended again.

Whoever holds the node's folder drops `faults/NAME.json`, {"fault": "gpu-lost", "gpu": 3} ("gpu" null: the node, or
GPU 0); the agent takes it from there within a fraction of a second. `accelerators.json` holds what is wrong now, `kmsg`
is the node's kernel log, `host/` its /proc and /sys.
"""

import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.agents.accelerators import faultlist, profiles

NODE, WORK = -1, -2
"""Where overlays of the driver as a whole, and faults of programs, lie beside those of GPUs by their numbers."""

DROP_BYTES_MAX = 4_096
STILL_WRITTEN_S = 1.0
"""A file younger than this that makes no sense may not be whole yet."""

HEALTHY_FILES = {
    "proc/mounts": "/dev/nvme0n1p1 / ext4 rw 0 0\n",
    "statvfs.json": '{"/": {"free_bytes": 500000000000, "total_bytes": 1000000000000, "free_inodes": 9, "inodes": 10}}',
    "sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
    "sys/class/infiniband/mlx5_0/ports/1/phys_state": "5: LinkUp\n",
    "sys/class/infiniband/mlx5_0/ports/1/rate": "400 Gb/sec (4X NDR)\n",
    "sys/class/infiniband/mlx5_0/ports/1/counters/link_downed": "0\n",
    "sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error": "0\n",
}
"""What a simulated node's /proc and /sys say while it is well."""


def state_path(folder: Path) -> Path:
    """What is wrong with the node now."""
    return folder / "accelerators.json"


def kernel_log(folder: Path) -> Path:
    """The node's kernel log: lines are appended to it."""
    return folder / "kmsg"


def host_root(folder: Path) -> Path:
    """The node's /proc and /sys."""
    return folder / "host"


def lay_out(folder: Path) -> None:
    """Make a simulated node's surroundings as they are while it is well; what is there stays."""
    for name, text in HEALTHY_FILES.items():
        path = host_root(folder) / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (folder / "faults").mkdir(exist_ok=True)


def boot_id(folder: Path) -> str:
    """The boot of the simulated machine; made on the first call, and anew by `boot`."""
    return str(_state(folder)["boot_id"])


def inject(folder: Path, fault: str, gpu: int | None = None) -> None:
    """Break something. Raises `ValueError` for a fault that is not known."""
    what = faultlist.named(fault)
    if what is None:
        known = ", ".join([*faultlist.ON_GPU, *faultlist.ON_NODE, *faultlist.ON_WORK, "xid-N"])
        raise ValueError(f"no fault is called {fault!r}; known: {known}")
    state, index = _state(folder), gpu if gpu is not None else 0
    entry: dict[str, Any] = {"fault": fault, "gpu": NODE if what.of_driver else index, "at": time.time()}
    if fault in faultlist.ON_WORK:
        entry |= {"gpu": WORK, "process": gpu}
    state["faults"].append(entry)
    _save(folder, state)
    _write_files(folder, what.files)
    log = kernel_log(folder)
    address = profiles.line_address(index)
    stamp = int(time.monotonic() * 1e6)
    lines = [f"4,0,{stamp},-;{line.replace('{pci}', address)}\n" for line in what.lines]
    with log.open("a") as file:
        file.writelines(lines)


def reset(folder: Path, gpus: Collection[int]) -> None:
    """What a reset of these GPUs ends."""
    _end(folder, lambda entry, what: what.clears == "reset" and entry["gpu"] in gpus)


def boot(folder: Path) -> None:
    """What a reboot ends; another boot id."""
    _end(folder, lambda _entry, what: what.clears in ("reset", "reboot"))
    _save(folder, {**_state(folder), "boot_id": f"boot-{secrets.token_hex(8)}"})


def mend(folder: Path) -> None:
    """End every fault, as the end of a drill."""
    _end(folder, lambda _entry, _what: True)


def active(folder: Path) -> dict[int, set[str]]:
    """What is wrong now, by GPU; `NODE` for the driver."""
    found: dict[int, set[str]] = {}
    for entry in _state(folder)["faults"]:
        found.setdefault(int(entry["gpu"]), set()).add(entry["fault"])
    return found


@dataclass(frozen=True)
class WorkFault:
    """What befalls programs that were there `at` (seconds since the epoch); `process` is its place there."""

    kind: str
    process: int | None
    at: float


def of_work(folder: Path) -> list[WorkFault]:
    """What befalls programs now."""
    entries = [entry for entry in _state(folder)["faults"] if entry["gpu"] == WORK]
    return [WorkFault(entry["fault"], entry["process"], entry["at"]) for entry in entries]


def overlays(folder: Path) -> dict[int, dict[str, Any]]:
    """Calls of each GPU that do not answer as its profile says; counters grow since they were injected."""
    found: dict[int, dict[str, Any]] = {}
    for entry in _state(folder)["faults"]:
        what = faultlist.named(entry["fault"])
        values = what.values if what is not None else {}
        over = found.setdefault(int(entry["gpu"]), {})
        for call, value in values.items():
            grows = isinstance(value, Mapping) and "per_s" in value
            over[call] = {**value, "since": entry["at"]} if grows else value
    return found


def take_dropped(folder: Path) -> list[str]:
    """Inject what was dropped into `faults/`; returns what was done, in words. What makes no sense is put aside."""
    done = []
    for path in sorted((folder / "faults").glob("*.json")):
        try:
            order = json.loads(path.read_bytes()[:DROP_BYTES_MAX])
            if order.get("fault") == "mend":
                mend(folder)
            else:
                gpu = order.get("gpu")
                inject(folder, str(order["fault"]), None if gpu is None else int(gpu))
            done.append(f"{order['fault']} on {order.get('gpu')}")
            path.unlink()
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            if time.time() - path.stat().st_mtime < STILL_WRITTEN_S:
                continue
            path.replace(path.with_suffix(".refused"))
            done.append(f"refused {path.name}: {exc}")
    return done


def _end(folder: Path, ends: Any) -> None:
    state = _state(folder)
    over = [e for e in state["faults"] if (what := faultlist.named(e["fault"])) is None or ends(e, what)]
    state["faults"] = [entry for entry in state["faults"] if entry not in over]
    _save(folder, state)
    for entry in over:
        what = faultlist.named(entry["fault"])
        _write_files(folder, {name: HEALTHY_FILES[name] for name in (what.files if what else {})})


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = host_root(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _state(folder: Path) -> dict[str, Any]:
    path = state_path(folder)
    if path.exists():
        return dict(json.loads(path.read_text()))
    state: dict[str, Any] = {"boot_id": f"boot-{secrets.token_hex(8)}", "faults": []}
    _save(folder, state)
    return state


def _save(folder: Path, state: Mapping[str, Any]) -> None:
    draft = state_path(folder).with_suffix(".tmp")
    draft.write_text(json.dumps(state))
    draft.replace(state_path(folder))
