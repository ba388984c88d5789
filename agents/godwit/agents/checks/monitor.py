"""The passive checks of a node at work: polls, the kernel log, and what of it is told."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from godwit.agents.accelerators import faults, profiles
from godwit.agents.checks import pci, watching
from godwit.agents.checks.gpu.events import EventLines
from godwit.agents.checks.gpu.poller import LOAD
from godwit.agents.checks.gpu.reader import BUSY_DEADLINE_S, DEADLINE_S, Died, Reading, Silent
from godwit.agents.checks.gpu.whole import Poll
from godwit.agents.checks.host.reading import Host
from godwit.agents.checks.kernel.forms import KernelSign
from godwit.agents.checks.kernel.journal import Journal
from godwit.agents.checks.kernel.records import AppendedFile, KernelDevice, Lines
from godwit.agents.checks.kernel.watch import LOOK_BACK_S, KernelWatch
from godwit.agents.checks.ledger import Ledger
from godwit.agents.checks.watching import Watched
from godwit.agents.effects import Found
from godwit.agents.metrics.seen import Seen
from godwit.agents.runtime.guard import write_whole
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import GpuFact

log = structlog.get_logger()

POLL_S = 30.0
"""gpud polls each minute, GCM and NVIDIA each 30 to 60 s; a poll costs some milliseconds."""

CLOSE_POLL_S, CLOSE_POLLS = 0.5, 30
"""How a simulated node is looked at after a fault was injected, so that a drill need not wait for minutes."""

LOOK_S = 0.2
KERNEL_WAIT_S = 5.0
HELD_BACK = 256
"""Kernel lines that are kept until the first poll has said which GPU has which address."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EVIDENCE_MAX = 31


class Monitor:
    """Watches one node from a few threads; `report` hears each finding.

    `gpus` are those that the node joined with, `held` says which of them (indexes) attempts have now. `poll_s` None:
    the usual cadence. `shared`: the machine is somebody's own, and what befalls it is told, but nothing is suggested.
    """

    def __init__(
        self,
        node_dir: Path,
        gpus: Sequence[GpuFact],
        *,
        simulated: bool,
        shared: bool = False,
        report: Callable[[Found], None],
        held: Callable[[], Collection[int]] = tuple,
        poll_s: float | None = None,
        deadline_s: float | None = None,
    ) -> None:
        self._dir, self._gpus, self._simulated, self._shared = node_dir, list(gpus), simulated, shared
        self._report, self._held = report, held
        self._poll_s, usual_s = poll_s or POLL_S, BUSY_DEADLINE_S if simulated else DEADLINE_S
        self._deadline_s = deadline_s or usual_s
        self._wake, self._close_polls, self._gone = threading.Event(), 0, False
        self._lock = threading.Lock()
        self.seen = Seen()
        self._reading_lock = threading.Lock()
        self._waiting: deque[KernelSign] | None = deque(maxlen=HELD_BACK)
        if simulated:
            faults.lay_out(node_dir)
            write_whole(node_dir / profiles.LISTED, json.dumps([gpu.model_dump() for gpu in gpus]))
        self._host = Host(faults.host_root(node_dir) if simulated else Path("/"), node_dir)
        self._reading = Reading(node_dir if simulated else None)
        self._events: EventLines | None = None
        self._journal: Journal | None = None
        self._watched = self._recalled()
        self._ledger = Ledger(self.boot_id(), self._stored("findings.json", []))

    def boot_id(self) -> str:
        """Which boot of the machine this is."""
        return faults.boot_id(self._dir) if self._simulated else _BOOT_ID.read_text().strip()

    def start(self) -> None:
        """Begin to watch: what an earlier boot ended is told first, and the first poll comes at once."""
        self._tell(self._ledger.booted)
        threading.Thread(target=self._poll_forever, name="health", daemon=True).start()
        threading.Thread(target=self._follow_kernel, name="kernel-log", daemon=True).start()

    def stop(self) -> None:
        """End the reading process; the threads end with the agent."""
        self._gone = True
        self._wake.set()
        self._reading.stop()
        for source in (self._events, self._journal):
            if source is not None:
                source.stop()

    @property
    def reading_pid(self) -> int | None:
        """The reading process, if it runs."""
        return self._reading.pid

    @contextmanager
    def released(self) -> Iterator[None]:
        """Meanwhile nothing of this agent has a GPU open: a reset needs that."""
        with self._reading_lock:
            self._reading.stop()
            if self._events is not None:
                self._events.stop()
            yield

    def was_reset(self, gpus: Collection[str]) -> None:
        """These GPUs (UUIDs) were reset: what that ended is told before this returns, and they are looked at."""
        self._tell(lambda: self._ledger.was_reset(gpus))
        self.poll()

    def was_booted(self) -> None:
        """The simulated machine was booted: what that ended is told before this returns."""
        standing = self._ledger.to_list()
        self._ledger = Ledger(self.boot_id(), standing)
        self._tell(self._ledger.booted)
        self.poll()

    def standing(self, gpus: Collection[str]) -> list[Found]:
        """What was told of these GPUs and of the node, and is not over."""
        with self._lock:
            return self._ledger.standing(gpus)

    def grades(self) -> list[str]:
        """The grades of everything that was told and is not over."""
        with self._lock:
            return [found.grade.value for found in self._ledger.standing()]

    def look(self, closely: int = 0) -> None:
        """Poll now, not at the next turn; `closely`: so many times in a row."""
        self._close_polls = max(self._close_polls, closely)
        self._wake.set()

    def poll(self) -> None:
        """One poll of everything."""
        now = time.monotonic()
        if self._gpus:
            poll = self._read_gpus()
            self.seen.polled(poll)
            known = dict(self._watched.expected)
            self._tell(lambda: watching.judge(poll, self._watched, self._ledger, self._in_sys()))
            if self._watched.expected != known:
                self._save()
        self._release_waiting()
        self._tell(lambda: watching.judge_host(self._host, self._watched, self._ledger, now))

    def figures(self) -> Sequence[Mapping[str, Any]]:
        """How hard each GPU works now, as the driver says; nothing before the first poll, nor where it is silent."""
        if self.seen.polled_at is None:
            return ()
        with self._reading_lock:
            try:
                return list(self._reading.poll(self._deadline_s, LOAD).get("gpus", ()))
            except (Silent, Died) as exc:  # the next poll finds out what it is, and tells it
                log.debug("no loads from the driver this time", reason=str(exc))
                return ()

    def hear(self, sign: KernelSign) -> None:
        """A line of the kernel log means something."""
        with self._lock:
            if self._waiting is not None and sign.pci and self._gpu_at(sign.pci) is None:
                self._waiting.append(sign)
                return
        self._tell_line(sign)

    def _read_gpus(self) -> Poll:
        with self._reading_lock:
            try:
                answer = self._reading.poll(self._deadline_s)
            except Silent as exc:
                return Poll(silent=str(exc))
            except Died as exc:
                log.warning("no values from the driver this time", reason=str(exc))
                return Poll(died=str(exc))
        return watching.poll_of(answer, self._watched, self._held(), time.monotonic())

    def _poll_forever(self) -> None:
        while not self._gone:
            self._wake.clear()
            self.poll()
            pause_s = self._poll_s
            if self._close_polls:
                self._close_polls, pause_s = self._close_polls - 1, CLOSE_POLL_S
            self._wake.wait(pause_s)

    def _follow_kernel(self) -> None:
        lines = self._lines()
        if lines is None:
            return
        look_back_s = 0.0 if self._shared else LOOK_BACK_S  # others worked there before
        watch = KernelWatch(lines, self._dir / "kernel-log.json", self.boot_id(), self.hear, look_back_s)
        while not self._gone:
            if self._simulated:
                for done in faults.take_dropped(self._dir):
                    log.info("a fault was dropped", fault=done)
                    self.look(closely=CLOSE_POLLS)
                watch.step(0.0)
                time.sleep(LOOK_S)
            else:
                watch.step(KERNEL_WAIT_S)

    def _lines(self) -> Lines | None:
        if self._simulated:
            return AppendedFile(faults.kernel_log(self._dir))
        try:
            return KernelDevice()
        except OSError as refused:
            try:
                self._journal = Journal()
            except OSError as exc:
                why = f"{refused}; {exc}"
                log.warning("the kernel log cannot be read here; of Xids only what NVML tells is seen", reason=why)
            else:
                log.info("kernel lines come from the journal", reason=str(refused))
                return self._journal
        self._events = EventLines() if self._gpus else None
        return self._events

    def _tell(self, judge: Callable[[], list[Found]]) -> None:
        with self._lock:
            told = judge()
            for found in told:
                self._report(self._named(found))
            if told:
                self._save()

    def _tell_line(self, sign: KernelSign) -> None:
        gpu = self._gpu_at(sign.pci or str(sign.evidence.get("device", "")))
        if sign.rule.grade is not Grade.HEALTHY:
            self.seen.told(sign.code, gpu)
        evidence = {"line": sign.line, **({"pci": sign.pci} if sign.pci else {}), **sign.evidence}
        found = Found(sign.check, sign.rule.grade, sign.reason, sign.code, sign.rule.remedy, gpu, evidence=evidence)
        self._tell(lambda: [self._ledger.happened(found, sign.rule.clears)])

    def _release_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        for sign in waiting or ():
            self._tell_line(sign)

    def _gpu_at(self, text: str) -> str | None:
        wanted = pci.address(text)
        known = self._watched.expected.items()
        return next((uuid for uuid, place in known if wanted is not None and pci.address(place) == wanted), None)

    def _named(self, found: Found) -> Found:
        """With its GPU's serial number, which a vendor asks for.

        A GPU that the control plane does not know by this UUID (it is cut into slices) is the node's matter.
        """
        evidence = dict(list(found.evidence.items())[:_EVIDENCE_MAX])
        if self._shared and found.gpu is None and found.grade is Grade.UNHEALTHY:
            found = replace(found, grade=Grade.DEGRADED, suggested=Remedy.NONE)
        if found.gpu is None or any(gpu.uuid == found.gpu for gpu in self._gpus):
            serial = self._watched.serials.get(found.gpu or "")
            return replace(found, evidence=evidence | ({"serial": serial} if serial else {}))
        return replace(found, gpu=None, evidence={**evidence, "device": found.gpu})

    def _in_sys(self) -> int | None:
        base = "sys/bus/pci/devices"
        devices = self._host.folders(base)
        if not devices:
            return None
        of_nvidia = [one for one in devices if (self._host.text(f"{base}/{one}/vendor") or "").strip() == "0x10de"]
        classes = [(self._host.text(f"{base}/{one}/class") or "")[:6] for one in of_nvidia]
        return sum(1 for kind in classes if kind in ("0x0302", "0x0300"))

    def _recalled(self) -> Watched:
        """The GPUs that are expected: those joined with, or (slices) those seen before."""
        seen: dict[str, str] = self._stored("inventory.json", {})
        whole = {gpu.uuid: seen.get(gpu.uuid, "") for gpu in self._gpus if not gpu.uuid.startswith("MIG-")}
        if self._simulated:
            whole = {gpu.uuid: profiles.bus_id(place) for place, gpu in enumerate(self._gpus)}
        models = {gpu.uuid: gpu.model for gpu in self._gpus}
        return Watched(expected=whole or seen, models=models)

    def _save(self) -> None:
        write_whole(self._dir / "findings.json", json.dumps(self._ledger.to_list()))
        write_whole(self._dir / "inventory.json", json.dumps(self._watched.expected))

    def _stored(self, name: str, otherwise: Any) -> Any:
        try:
            return json.loads((self._dir / name).read_text())
        except (FileNotFoundError, ValueError):
            return otherwise  # a note that cannot be read is none: something may be told twice
