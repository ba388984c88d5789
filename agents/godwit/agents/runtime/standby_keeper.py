"""Keeps one fresh Ray standing by on an idle node, hands it to an attempt that fits, and ends it when it is in the way.

    nothing ── idle, leased, memory ──▶ stands by ── an attempt fits: its folder is renamed ──▶ the attempt's
       ▲                                   │
       └──── ended by its guard ◀──────────┴ an attempt that does not fit, little memory, a reset, no lease, a day old

Renaming the folder is the taking: it happens once or not at all, so that no Ray is ever used twice. Its guard and its
lease are those of attempts, so that it never outlives its node's word.
"""

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from godwit.agents.confinement.keeper import Keeper
from godwit.agents.runtime import spare_memory, standby, strays
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder, StoodBy
from godwit.agents.runtime.guard import boottime_s, read_deadline_s, write_whole
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.domain.errors import GodwitError
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

LOOK_S = 5.0
"""How often memory and lease are looked at; whatever else matters wakes it."""

START_BYTES, KEEP_BYTES = 4 << 30, 2 << 30
"""Free memory with which one is started, and below which it is ended. A Ray at rest takes 0.5 GiB (`benchmarks idle`);
what is left of four when it stands is well above two, so that it does not come and go, and a small program starts in
two (a worker with PyTorch takes 0.35)."""

FRESH_S = 86_400.0
"""One that nobody took for a day is replaced: its logs and its dashboard's memory grow slowly."""

PAUSE_MIN_S, PAUSE_MAX_S = 10.0, 600.0
"""Between tries when Ray ends by itself: each pause is twice the one before."""

CLOSE_S = 30.0
"""How long a leaving agent waits for it to be gone; its guard ends it with the lease in any case."""


@dataclass(frozen=True)
class _Standing:
    folder: AttemptFolder
    custody: Custody
    since: float


class StandbyKeeper:
    """The one Ray that stands by on this node, if any. `idle()` says whether no attempt lives here."""

    def __init__(
        self,
        node_dir: Path,
        lease_path: Path,
        facts: NodeFacts,
        gpus: Sequence[int],
        idle: Callable[[], bool],
        *,
        wanted: bool = True,
        free_bytes: Callable[[], int] = spare_memory.available_bytes,
        keeper: Keeper | None = None,
    ) -> None:
        self._node_dir, self._lease_path = node_dir, lease_path
        self._facts, self._gpus = facts, tuple(gpus)
        self._idle, self._free_bytes = idle, free_bytes
        self._keeper = keeper or Keeper()
        self._standing: _Standing | None = None
        self._taking = threading.Lock()  # around what is standing: held for a rename at most
        self._tending = threading.Lock()  # around starting and ending
        self._kept_away = 0
        self._failures, self._not_before = 0, 0.0
        self._woken, self._closing = threading.Event(), threading.Event()
        self._wanted = wanted
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)

    def start(self) -> None:
        """Begin; what an earlier agent left standing is ended first, whether another one is wanted or not."""
        self._thread.start()

    def look(self) -> None:
        """Something changed on this node: look now."""
        self._woken.set()

    def take(self, command: StartAttempt) -> Custody | None:
        """Make what stands by this attempt's, and return its guard; None: the attempt starts a Ray of its own.

        Repeated, it is the attempt's already, and nothing happens. Returns at once.
        """
        target = AttemptFolder(self._node_dir, command.attempt_id)
        with self._taking:
            standing, why = self._standing, standby.stranger(command, self._gpus)
            if standing is None or target.root.exists() or not _lives(standing.folder):
                return None
            if why:
                log.info("what stands by does not fit", attempt_id=command.attempt_id, reason=why)
                return None
            # Before it is the attempt's: whoever finds an attempt's guard must find out whose it is.
            write_whole(standing.folder.command_path, command.model_dump_json())
            target.root.parent.mkdir(exist_ok=True)
            standing.folder.root.rename(target.root)
            standing.custody.moved(target)
            self._standing, self._failures = None, 0
            return standing.custody

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing stands by in here: a GPU cannot be reset while Ray's dashboard reads it."""
        with self._tending:
            self._kept_away += 1
            self._end()
        try:
            yield
        finally:
            with self._tending:
                self._kept_away -= 1
            self.look()

    def retire(self) -> None:
        """The machine goes: nothing is to stand by from now on."""
        self._wanted = False
        self.look()

    def close(self) -> None:
        """End it for good; waits up to `CLOSE_S`."""
        self._closing.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        self._clear()
        while self._wanted and not self._closing.is_set():
            with self._tending:
                try:
                    self._tend()
                except (OSError, GodwitError) as exc:
                    self._note_failure(str(exc))
            self._woken.wait(LOOK_S)
            self._woken.clear()
        with self._tending:
            self._end()

    def _tend(self) -> None:
        fallen = self._fallen()
        if fallen is not None:
            said = " / ".join(fallen.folder.last_lines(of_ray=True, count=3))
            _end_guard(fallen.custody, fallen.folder)
            ended = fallen.custody.ended()
            if ended is None or ended.cause != "lease":
                self._note_failure(f"it ended by itself: {said or 'it said nothing'}")
            _remove(fallen.folder)
        if self._standing is not None and not self._may_stand(KEEP_BYTES):
            self._end()
        elif self._standing is None and time.monotonic() >= self._not_before and self._may_stand(START_BYTES):
            self._begin()
            if not self._may_stand(KEEP_BYTES):  # an attempt came meanwhile
                self._end()

    def _may_stand(self, free_bytes: int) -> bool:
        if not self._wanted or self._kept_away or self._closing.is_set() or not self._idle():
            return False
        if read_deadline_s(self._lease_path) <= boottime_s() or self._free_bytes() < free_bytes:
            return False
        standing = self._standing
        return standing is None or time.monotonic() - standing.since < FRESH_S

    def _begin(self) -> None:
        folder = AttemptFolder(self._node_dir, f"ray-{secrets.token_hex(4)}", standby.SHELF)
        port = standby.free_port(self._facts.address)
        folder.make()
        stood_by = StoodBy(port, secrets.token_hex(32), str(folder.ray), str(folder.run))
        write_whole(folder.root / "standby.json", json.dumps(asdict(stood_by)))
        command = standby.composed(folder.attempt_id, stood_by, self._facts, self._gpus)
        self._keeper.confine(folder, command)
        custody = Custody(folder, self._lease_path)
        environment = standby.environment(command, folder, self._facts, os.environ)
        custody.start(standby.steps(command, folder, self._facts), environment)
        with self._taking:
            self._standing = _Standing(folder, custody, time.monotonic())

    def _end(self) -> None:
        standing = self._standing
        if standing is None or not self._let_go(standing):
            return
        _end_guard(standing.custody, standing.folder)
        _remove(standing.folder)

    def _fallen(self) -> _Standing | None:
        """What stood by and does not any more."""
        with self._taking:
            standing = self._standing
            if standing is None or _lives(standing.folder):
                return None
            self._standing = None
            return standing

    def _let_go(self, standing: _Standing) -> bool:
        """Whether it is ours to end: an attempt may have taken it this moment."""
        with self._taking:
            if self._standing is not standing:
                return False
            self._standing = None
            return True

    def _note_failure(self, detail: str) -> None:
        pause_s = min(PAUSE_MIN_S * 2**self._failures, PAUSE_MAX_S)
        self._failures, self._not_before = min(self._failures + 1, 10), time.monotonic() + pause_s
        log.warning("no Ray stands by", reason=detail, next_try_s=pause_s)

    def _clear(self) -> None:
        for path in (self._node_dir / standby.SHELF).glob("*"):
            folder = AttemptFolder(self._node_dir, path.name, standby.SHELF)
            _end_guard(Custody(folder, self._lease_path), folder)
            while strays.kill_marked(folder.marks):
                time.sleep(0.1)
            _remove(folder)


def _lives(folder: AttemptFolder) -> bool:
    return folder.guarded and folder.exit_record() is None and folder.stop_ordered_ns() is None


def _end_guard(custody: Custody, folder: AttemptFolder) -> None:
    """Blocks until no process is left, however long that takes: only then its ports and memory are free."""
    custody.stop(0.0)
    while folder.guard_was_started and custody.ended() is None:
        time.sleep(0.05)


def _remove(folder: AttemptFolder) -> None:
    shutil.rmtree(folder.ray, ignore_errors=True)
    shutil.rmtree(folder.root, ignore_errors=True)
