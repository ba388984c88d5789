"""The folder of one attempt on one node: what lies where, and what it says about the attempt."""

import fcntl
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.confinement import owner
from godwit.agents.redaction import Mask

_NOTHING_SECRET = Mask()

RAY_IS_UP = "Ray runtime started"
"""What `ray start` says once this node is part of the cluster (2.60)."""

NO_EXIT_CODE = 255
"""Of a program that left something else where its exit code belongs."""


@dataclass(frozen=True)
class ExitRecord:
    """How the guard ended: `cause` is ended, stopped, lease or head-unreachable; `step` is what it was doing."""

    cause: str
    step: str
    exit_code: int | None


@dataclass(frozen=True)
class StoodBy:
    """The Ray that stood by here until the attempt took it: the first of its ports, its token and its own folder.

    `mark` is the run folder that its processes' environment names: they were started before the attempt was known.
    """

    port: int
    token: str
    ray: str
    mark: str


@dataclass(frozen=True)
class AttemptFolder:
    """Paths of one attempt below the node's folder; what stands by lies on another shelf, under a name of its own."""

    node_dir: Path
    attempt_id: str
    shelf: str = "attempts"

    @property
    def root(self) -> Path:
        """Everything of the attempt but Ray's session."""
        return self.node_dir / self.shelf / self.attempt_id

    @property
    def ray(self) -> Path:
        """Ray's folder: short, since its sockets' paths may have 107 characters (unix(7)) and Ray takes 64 of them."""
        stood_by = self.stood_by()
        return Path(stood_by.ray) if stood_by else self.node_dir / _short(self.attempt_id)

    @property
    def command_path(self) -> Path:
        """The command that started it, for an agent that takes over."""
        return self.root / "command.json"

    @property
    def workdir(self) -> Path:
        """Where the program runs."""
        return self.root / "workdir"

    @property
    def checkpoints(self) -> Path:
        """GODWIT_CHECKPOINT_DIR."""
        return self.root / "checkpoints"

    @property
    def run(self) -> Path:
        """GODWIT_RUN_DIR: what the in-job helper and the program's wrapper leave for the agent."""
        return self.root / "run"

    @property
    def notice_path(self) -> Path:
        """What tells the in-job helper that the program is to stop."""
        return self.run / "notice"

    @property
    def output(self) -> Path:
        """The attempt's log: notices, set-up and program, in the order in which they wrote."""
        return self.root / "output.log"

    @property
    def ray_log(self) -> Path:
        """What `ray start` says."""
        return self.root / "ray.log"

    def stood_by(self) -> StoodBy | None:
        """The Ray that stands by here, or did until the attempt took it; None where the attempt started its own."""
        try:
            return StoodBy(**json.loads((self.root / "standby.json").read_text()))
        except FileNotFoundError:
            return None

    @property
    def marks(self) -> list[str]:
        """The run folders of which the environment of its processes names one."""
        stood_by = self.stood_by()
        return [str(self.run), *([stood_by.mark] if stood_by else [])]

    @property
    def tried(self) -> Path:
        """What says that the GPUs were tried, or need not be."""
        return self.root / "tried"

    @property
    def gpus_were_tried(self) -> bool:
        """Whether the attempt has that behind it: it comes before its own guard, but after one that it took."""
        return self.tried.exists() or (self.guard_was_started and self.stood_by() is None)

    def ray_is_up(self) -> bool:
        """Whether `ray start` said that this node is part of the cluster."""
        try:
            return RAY_IS_UP.encode() in self.ray_log.read_bytes()
        except FileNotFoundError:
            return False

    def make(self) -> None:
        """Make the folders; harmless to repeat."""
        for path in (self.workdir, self.checkpoints, self.run / "reports"):
            path.mkdir(parents=True, exist_ok=True)
        if not (self.root / "confined.json").exists():  # then its user walks through it to what is its own
            self.root.chmod(0o700)  # steps and environment name tokens

    def clear_work(self) -> None:
        """Remove what the program worked with; what says how it ended stays, and its output."""
        for path in (self.workdir, self.checkpoints, self.root / "home", self.root / "tmp", self.ray):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def guarded(self) -> bool:
        """Whether a guard lives."""
        return _is_guarded(self.root)

    @property
    def guard_was_started(self) -> bool:
        """Whether a guard ever lived."""
        return (self.root / "guard.pid").exists()

    def exit_record(self) -> ExitRecord | None:
        """How the guard ended, once every process was gone."""
        try:
            return ExitRecord(**json.loads((self.root / "exit.json").read_text()))
        except FileNotFoundError:
            return None

    def program_started(self) -> bool:
        """Whether the program was started."""
        return (self.run / "program.pid").exists()

    def program_exit_code(self) -> int | None:
        """The program's exit code, once it ended."""
        try:
            code = int(owner.text(self.run, self.run / "exit_code"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return NO_EXIT_CODE
        return code if 0 <= code <= NO_EXIT_CODE else NO_EXIT_CODE

    def stop_ordered_ns(self) -> int | None:
        """When somebody first told the guard to stop, in nanoseconds since the epoch."""
        try:
            return int(json.loads((self.root / "stop.json").read_text())["first_ordered_ns"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def own_exit_code(self) -> int | None:
        """The program's exit code if it ended by itself: one asked to stop may well say 0 without being done."""
        code, ordered_ns = self.program_exit_code(), self.stop_ordered_ns()
        if code is None or ordered_ns is None:
            return code
        return code if (self.run / "exit_code").stat().st_mtime_ns <= ordered_ns else None

    def notice(self, text: str) -> None:
        """Write a line of the agent's own into the attempt's log."""
        with self.output.open("ab") as log:
            log.write(f"[godwit] {text}\n".encode())

    def last_lines(self, mask: Mask = _NOTHING_SECRET, *, of_ray: bool = False, count: int = 20) -> tuple[str, ...]:
        """The last lines of the log, or of what `ray start` said, for a person; without what `mask` covers."""
        try:
            with (self.ray_log if of_ray else self.output).open("rb") as log:
                log.seek(max(0, log.seek(0, 2) - 65_536 - mask.reach))
                text = mask.covered(log.read())[-65_536:].decode("utf-8", "replace").replace("\0", "?")
        except FileNotFoundError:
            return ()
        return tuple(text.splitlines()[-count:])


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def _is_guarded(folder: Path) -> bool:
    """Whether a guard lives for this folder."""
    try:
        with (folder / "guard.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
