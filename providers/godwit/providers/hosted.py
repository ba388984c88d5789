"""Machines hosted on this computer: each a folder, a loopback address and the processes that its startup script began.

    boot ──▶ up ──▶ ending (stop: asked first; cut: killed at once) ──▶ gone: no process, no folder, no record
              └──▶ crashed (the first process was killed), until somebody stops or cuts it

A record of each lies on disk, so that a new process of ours finds the machines of the one before.
"""

import hashlib
import json
import logging
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from godwit.domain.drills import Drill
from godwit.providers import files, processes
from godwit.providers.machines import Machine

_log = logging.getLogger(__name__)

STOP_GRACE_S = 2.0
"""How long the processes of a machine that is shut down may take to end by themselves."""

_LONGEST_TEMPORARY = 16
"""A unix socket's path has 107 characters at most (unix(7)), and Ray needs about 60 of them below the folder."""

_RETRY_S = 2.0

BOOT_LOG_LIMIT_BYTES = 1_048_576
BOOT_LOGS_KEPT = 50


@dataclass(frozen=True)
class _Record:
    instance_id: str
    mark: str
    folder: str
    first: processes.FirstProcess | None = None
    ending: str | None = None


@dataclass(frozen=True)
class Whereabouts:
    """Where a machine is on this host: for drills and for a person who looks into it."""

    pid: int | None
    folder: str


class HostedMachines:
    """Implements `machines.Machines` with real processes. Safe to call from several threads.

    `state_dir` keeps records and boot logs. `environment` is what every machine starts from (None: a minimal one,
    with the machine's folder as HOME).
    """

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self._records_dir = files.private_folder(state_dir / "machines")
        self._logs_dir = files.private_folder(state_dir / "boot_logs")
        self._host_mark = host_mark(state_dir)
        self._environment = environment
        self._lock = threading.RLock()
        self._records: dict[str, _Record] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for path in sorted(self._records_dir.glob("*.json")):
            record = _read_record(path)
            self._records[record.instance_id] = record
            if record.ending:
                self._end(record, record.ending)

    @property
    def run_dir(self) -> Path:
        """The folder under which the machines' own folders lie: short, since unix sockets are made in them."""
        temporary = tempfile.gettempdir()
        return Path(temporary if len(temporary) <= _LONGEST_TEMPORARY else "/tmp") / f"gw-{self._host_mark}"  # noqa: S108

    def boot(self, machine: Machine) -> None:
        """Start it, unless it was started before. Raises `OSError` when this host cannot."""
        with self._lock:
            known = self._records.get(machine.instance_id)
            if known is not None and (known.first or known.ending):
                return
            folder = self.run_dir / machine.slot
            record = _Record(machine.instance_id, f"{self._host_mark}-{machine.instance_id}", str(folder))
            if known is not None or folder.exists():
                # We died between starting it and noting that: begin again from nothing.
                processes.end(record.mark)
                shutil.rmtree(folder, ignore_errors=True)
            self._save(record)
            files.private_folder(self.run_dir)
            files.private_folder(folder)
            self._start(machine, record, folder)

    def _start(self, machine: Machine, record: _Record, folder: Path) -> None:
        script = self._path(machine.instance_id, ".sh")
        files.write_private(script, machine.startup_script)
        environment = dict(self._environment or processes.base_environment(folder))
        environment |= {
            processes.MARK: record.mark,
            "GODWIT_NODE_ADDRESS": machine.address,
            "GODWIT_NODE_DIR": str(folder),
        }
        if machine.gpus is not None:
            environment["GODWIT_FAKE_GPUS"] = json.dumps([gpu.model_dump() for gpu in machine.gpus])
        log = self._logs_dir / f"{machine.instance_id}.log"
        first, child = processes.start(script, self._path(machine.instance_id, ".ended"), log, folder, environment)
        self._children[machine.instance_id] = child
        self._save(replace(record, first=first))

    def stop(self, instance_id: str) -> None:
        """Shut it down in order: SIGTERM, up to `STOP_GRACE_S`, then SIGKILL."""
        self._begin_end(instance_id, "stop")

    def cut(self, instance_id: str) -> None:
        """Cut its power: SIGKILL to every process of it."""
        self._begin_end(instance_id, "cut")

    def _begin_end(self, instance_id: str, how: str) -> None:
        with self._lock:
            record = self._records.get(instance_id)
            if record is None or record.ending in (how, "cut"):
                return
            record = replace(record, ending=how)
            self._save(record)
            self._end(record, how)

    def _end(self, record: _Record, how: str) -> None:
        grace_s = STOP_GRACE_S if how == "stop" else 0.0
        name = f"end-{record.instance_id}"
        threading.Thread(target=self._end_and_forget, args=(record, grace_s), name=name, daemon=True).start()

    def _end_and_forget(self, record: _Record, grace_s: float) -> None:
        """Runs in a thread of its own. Repeats until done, for the reason that `processes.end` gives."""
        while True:
            try:
                processes.end(record.mark, record.first, grace_s)
                self._forget(record)
                return
            except Exception:  # noqa: BLE001 - the outermost frame of this thread
                _log.exception("machine %s is not gone yet; trying again in %g s", record.instance_id, _RETRY_S)
                time.sleep(_RETRY_S)

    def _forget(self, record: _Record) -> None:
        with self._lock:
            child = self._children.pop(record.instance_id, None)
            if child is not None:
                child.wait()  # it is dead: this only takes the zombie away
            shutil.rmtree(record.folder, ignore_errors=True)
            for suffix in (".sh", ".ended", ".json"):
                self._path(record.instance_id, suffix).unlink(missing_ok=True)
            self._records.pop(record.instance_id, None)
            files.drop_if_empty(self.run_dir)

    def drill(self, instance_id: str, kind: Drill, gpu: int | None) -> None:
        """Break it, but for its power: SIGKILL to its agent, or a fault for the agent to show."""
        with self._lock:
            record = self._records.get(instance_id)
        if record is None or record.ending:
            return
        if kind is Drill.AGENT_LOSS:
            sessions = [record.first.pid] if record.first is not None else []
            processes.kill_agents(record.mark, sessions)
            return
        name = kind if gpu is None else f"{kind}-{gpu}"
        faults = files.private_folder(Path(record.folder) / "faults")
        files.write_private(faults / f"{name}.json", json.dumps({"fault": kind, "gpu": gpu}))

    def warn(self, instance_id: str, within_s: float) -> None:
        """Leave the notice where its agent looks for it (`godwit.agents.notices.file`)."""
        with self._lock:
            record = self._records.get(instance_id)
        if record is not None and not record.ending:
            said = {"within_s": within_s, "reason": "its cloud takes it back"}
            files.write_private(Path(record.folder) / "notice", json.dumps(said))

    def has_crashed(self, instance_id: str) -> bool:
        """Whether its first process was killed or failed. One that ended with 0 leaves an idle machine, as a VM's."""
        with self._lock:
            record = self._records.get(instance_id)
            if record is None or record.ending:
                return False
            child = self._children.get(instance_id)
            if child is not None and child.poll() is None:
                return False
            if child is None and record.first is not None and processes.is_alive(record.first):
                return False
            ended = self._path(instance_id, ".ended")
            return not (ended.exists() and ended.read_text().strip() == "0")

    def is_gone(self, instance_id: str) -> bool:
        """Whether no process and no folder of it is left."""
        with self._lock:
            return instance_id not in self._records

    def known(self) -> list[str]:
        """The ids of all machines that are not gone."""
        with self._lock:
            return sorted(self._records)

    def whereabouts(self, instance_id: str) -> Whereabouts | None:
        """Its first process and its folder; None when it is not here."""
        with self._lock:
            record = self._records.get(instance_id)
            if record is None:
                return None
            return Whereabouts(record.first.pid if record.first else None, record.folder)

    def bound_logs(self) -> None:
        """Keep boot logs within `BOOT_LOG_LIMIT_BYTES` each, and only the newest `BOOT_LOGS_KEPT` of the dead."""
        for instance_id in self.known():
            processes.keep_tail(self._logs_dir / f"{instance_id}.log", BOOT_LOG_LIMIT_BYTES)
        dead = [path for path in self._logs_dir.glob("*.log") if path.stem not in self._records]
        for path in sorted(dead, key=lambda path: path.stat().st_mtime)[:-BOOT_LOGS_KEPT]:
            path.unlink(missing_ok=True)

    def _path(self, instance_id: str, suffix: str) -> Path:
        return self._records_dir / f"{instance_id}{suffix}"

    def _save(self, record: _Record) -> None:
        files.write_private(self._path(record.instance_id, ".json"), json.dumps(asdict(record)))
        self._records[record.instance_id] = record


def _read_record(path: Path) -> _Record:
    data = json.loads(path.read_text())
    first = data.pop("first")
    return _Record(**data, first=processes.FirstProcess(**first) if first else None)


def host_mark(state_dir: Path) -> str:
    """Six hex digits that tell the machines of one state folder from those of another on the same computer."""
    return hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:6]


def network_of(state_dir: Path, index: int) -> str:
    """The first three parts of the loopback addresses of cloud `index` (0 to 7) of a state folder.

    127.16.0.0 to 127.215.255.255, spread over 6,200 blocks of eight networks by the folder's hash, so that two
    folders on one computer do not meet in practice.
    """
    if not 0 <= index <= 7:
        raise ValueError(f"index {index}: a state folder has room for eight networks, 0 to 7")
    number = int(host_mark(state_dir), 16)
    return f"127.{16 + number % 200}.{number // 200 % 31 * 8 + index}"
