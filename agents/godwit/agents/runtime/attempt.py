"""One attempt on one node, from its start, or from wherever an earlier agent left it, to its end."""

import threading
import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import structlog
from godwit.agents.checkpoints import keeping
from godwit.agents.checkpoints.choice import HeadSilent
from godwit.agents.checkpoints.keeping import Keeping
from godwit.agents.checkpoints.store import StoreUnavailable
from godwit.agents.confinement import memory, owner
from godwit.agents.dev import leading as desks
from godwit.agents.effects import Outcome, Running, RuntimeEvent, Stopped
from godwit.agents.link import Dismissed, Link, Unreachable
from godwit.agents.progress import ProgressReader
from godwit.agents.runtime import composing, serving, standby, workdir
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder, ExitRecord
from godwit.agents.runtime.held import Held, SecretsGone
from godwit.agents.runtime.preflight import PreflightFailed
from godwit.agents.runtime.process.leading import BoxJob
from godwit.agents.runtime.process.probe import Abilities
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.ray_job import ClusterNotReady, RayJob, SubmissionRefused
from godwit.agents.runtime.retrying import retried
from godwit.agents.runtime.workdir import WorkdirRefused
from godwit.domain import tracing
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

CLUSTER_READY_S = 600.0
"""How long the gang may take to come up: the deadline of an attempt in `starting`."""

WATCH_S = 0.05
"""How often the files of a running program are looked at: four stat calls."""

ASK_RAY_S = 5.0
"""How often Ray is asked whether the job ended although its wrapper left no exit code (it was killed)."""

_INTERRUPTIONS = (
    Dismissed, Unreachable, StoreUnavailable, HeadSilent, ClusterNotReady, SubmissionRefused, SecretsGone,
)  # fmt: skip

LAST_COMMIT_S = 60.0
"""How long the end of an attempt waits for its last checkpoint: as long as the control plane waits for the end."""


@dataclass(frozen=True)
class Surroundings:
    """What an attempt needs of its agent. `preflight` tries its GPUs and says why they are not fit, if they are not.

    `abilities` say whether and how programs are saved as processes here. `secrets` are the attempt's. `confine` gives
    it a user and a cgroup.
    """

    link: Link
    facts: NodeFacts
    machine_env: Mapping[str, str]
    emit: Callable[[RuntimeEvent], None]
    preflight: Callable[[StartAttempt, Callable[[], bool]], str] = lambda _command, _going_on: ""
    abilities: Abilities = field(default_factory=Abilities)
    secrets: Held = field(default_factory=Held)
    confine: Callable[[AttemptFolder, StartAttempt], None] = lambda _folder, _command: None


class AttemptRun:
    """Runs one attempt in a thread of its own; `emit` hears of each step, and of `Stopped` exactly once."""

    def __init__(
        self, command: StartAttempt, folder: AttemptFolder, custody: Custody, surroundings: Surroundings
    ) -> None:
        self._command = command
        self._folder = folder
        self._custody = custody
        self._around = surroundings
        # What opens the store may be a secret, which is known once it was asked for.
        env = ChainMap(surroundings.secrets.values, {**surroundings.machine_env, **command.env})
        around = keeping.Around(surroundings.emit, env, lambda: not custody.stop_was_ordered)
        self._keeping = Keeping(command, folder, around)
        self._progress = ProgressReader(folder.run, command.attempt_id)
        self._idle = desks.IdleReader(command, folder, surroundings.emit)
        self._replica = serving.Watch(command, folder, surroundings.emit, self.stop)
        self._told_running = False
        self._thread = threading.Thread(target=self.run, name=command.attempt_id, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """End every process within `grace_s`; `Stopped` follows."""
        self._folder.make()
        self._custody.stop(grace_s)

    def run(self) -> None:
        """The whole life of the attempt here; blocks until no process is left."""
        structlog.contextvars.bind_contextvars(trace_id=tracing.of_job(self._command.job_id))  # of this thread alone
        try:
            end = self._live()
        except Exception as exc:
            log.exception("the attempt's watch failed", attempt_id=self._command.attempt_id)
            self.stop(0.0)
            self._wait_for_guard()
            end = self._stopped("interrupted", f"the agent failed: {type(exc).__name__}: {exc}")
        self._keeping.abandon()
        self._keeping.close()
        self._around.emit(end)

    def _live(self) -> Stopped:
        failure: Stopped | None = None
        try:
            self._folder.make()
            self._around.confine(self._folder, self._command)
            self._command = serving.with_port(self._command, self._folder, self._around.facts.address)
            self._get_secrets()
            self._bring_up()
            self._keeping.start()
            if self._command.rank == 0:
                self._lead()
            elif self._command.joins:
                self._join()
        except WorkdirRefused as exc:
            failure = self._stopped("failed", exc.message)
        except PreflightFailed as exc:
            failure = replace(self._stopped("interrupted", exc.message), preflight_failed=True)
        except _INTERRUPTIONS as exc:
            failure = self._stopped("interrupted", exc.message)
        if failure is not None:
            self._folder.notice(failure.detail)
            self.stop(0.0)
        record = self._wait_for_guard()
        self._report_progress()
        self._commit_last(record)
        return memory.explained(failure or self._verdict(record), self._custody.spent)

    def _get_secrets(self) -> None:
        """Before anything runs that needs them. What runs has them already: then only its output waits for them."""
        if not self._folder.guard_was_started and not self._custody.stop_was_ordered:
            self._retried(self._around.secrets.complete)

    def _commit_last(self, record: ExitRecord) -> None:
        """Only a program that ended well has finished what it wrote; without a lease nothing may be written at all."""
        if record.cause == "lease":
            self._keeping.abandon()
        else:
            self._keeping.finish(LAST_COMMIT_S, ended_well=self._folder.program_exit_code() == 0)

    def _bring_up(self) -> None:
        """Set-up needs the workdir; otherwise it arrives while Ray starts, which takes seconds."""
        if self._custody.stop_was_ordered:
            return
        with ThreadPoolExecutor(1) as pool:
            files = pool.submit(self._fetch_files)
            self._try_gpus()
            if self._command.setup or self._command.process_saves or serving.is_plain(self._command):
                files.result()
            self._start_guard()
            files.result()

    def _try_gpus(self) -> None:
        """Nothing computes here yet, so they are free; an agent that takes over has it behind it."""
        if self._folder.gpus_were_tried or self._custody.stop_was_ordered:
            return
        unfit = self._around.preflight(self._command, lambda: not self._custody.stop_was_ordered)
        if unfit:
            self.stop(0.0)  # nobody waits any more for files that no program will read
            raise PreflightFailed(f"preflight: {unfit}")
        self._folder.tried.touch()

    def _start_guard(self) -> None:
        if self._command.rank == 0 and not self._folder.output.exists():
            self._folder.output.touch()
        if self._folder.guard_was_started or self._custody.stop_was_ordered:
            return
        node = composing.Node(self._around.facts, self._around.machine_env, self._around.abilities.criu)
        steps = composing.steps(self._command, self._folder, node)
        secrets = self._around.secrets.values
        self._custody.start(steps, composing.environment(self._command, self._folder, node, secrets))

    def _fetch_files(self) -> None:
        """Workdir and checkpoint, once: an agent that takes over leaves them as they are."""
        self._keeping.open()
        done = self._folder.root / "files.done"
        if done.exists():
            return
        self._retried(self._fetch_workdir)
        self._retried(self._keeping.restore)
        done.touch()

    def _retried(self, act: Callable[[], None]) -> None:
        retried(act, lambda: self._custody.stop_was_ordered)

    def _fetch_workdir(self) -> None:
        workdir.prepare(self._around.link, self._command.workdir_digest, self._folder.workdir)

    def _lead(self) -> None:
        """Rank 0: submit the program once the gang is complete, and watch it to its end."""
        job = self._job()
        try:
            if not self._folder.program_started():
                job.wait_for_nodes(CLUSTER_READY_S)
                job.submit(CLUSTER_READY_S)
            self._watch(job)
        finally:
            self._replica.close()
            job.close()
        self._custody.end()

    def _join(self) -> None:
        """A node that comes to a running attempt: tell when it is part of its Ray, however long that takes."""
        while self._going_on() and not self._folder.ray_is_up():
            time.sleep(WATCH_S)
        if self._going_on():
            self._around.emit(Running(self._command.attempt_id))

    def _job(self) -> RayJob | BoxJob | serving.PlainJob:
        if self._command.process_saves:
            return BoxJob(self._folder, self._keeping.restore_older, self._going_on)
        if serving.is_plain(self._command):
            return serving.PlainJob(self._folder, self._going_on)
        return standby.job(self._command, self._folder, self._going_on)

    def _watch(self, job: RayJob | BoxJob | serving.PlainJob) -> None:
        ask_at = time.monotonic() + ASK_RAY_S
        while self._going_on() and self._folder.program_exit_code() is None:
            self._tell_running()
            self._report_progress()
            self._idle.look()
            if time.monotonic() >= ask_at:
                ended = job.ended()
                # The wrapper writes its code just before Ray learns of the end; give it that moment.
                if ended is not None and self._folder.program_exit_code() is None:
                    self._note_killed(*ended)
                    return
                ask_at = time.monotonic() + ASK_RAY_S
            time.sleep(WATCH_S)
        self._tell_running()  # a program may be over before it was seen to run

    def _tell_running(self) -> None:
        if not self._told_running and self._folder.program_started():
            self._told_running = True
            self._replica.start()
            self._around.emit(Running(self._command.attempt_id))

    def _note_killed(self, message: str, exit_code: int | None) -> None:
        self._folder.notice(f"Ray says that the program ended: {message}")
        code = exit_code if exit_code is not None else 137  # killed without a word, as by the out-of-memory killer
        with owner.acting(self._folder.run):
            (self._folder.run / "exit_code").write_text(f"{code}\n")

    def _report_progress(self) -> None:
        progress = self._progress.newest()
        if progress is not None:
            self._around.emit(progress)

    def _going_on(self) -> bool:
        never_will = self._custody.stop_was_ordered and not self._folder.guard_was_started
        return not never_will and self._custody.ended() is None

    def _wait_for_guard(self) -> ExitRecord:
        while (record := self._custody.ended()) is None:
            if not self._folder.guard_was_started:
                return ExitRecord("stopped", "start", None)
            self._report_progress()  # the helper may report on any node
            time.sleep(WATCH_S)
        return record

    def _verdict(self, record: ExitRecord) -> Stopped:
        """What the end means, in the order of what outranks what: the program's own end, then why the guard ended."""
        code = self._folder.own_exit_code() if self._command.rank == 0 else None
        ended = self._replica.ended(record, code)
        if ended is not None:
            return self._stopped("failed", *ended)
        if code is not None:
            return self._stopped("succeeded" if code == 0 else "failed", f"exit code {code}", code)
        if record.step == "setup" and record.cause == "ended":
            return self._stopped("failed", f"set-up failed with exit code {record.exit_code}", record.exit_code)
        if record.step == "process" and record.cause == "ended":
            return self._stopped("interrupted", f"what saves the program here ended with exit code {record.exit_code}")
        if record.step == "ray" and record.cause == "ended":
            detail = f"Ray on this node ended with exit code {record.exit_code}"
            return replace(self._stopped("interrupted", detail, of_ray=True), ray_ended=True)
        causes: dict[str, tuple[Outcome, str]] = {
            "stopped": ("cancelled", "it was told to stop"),
            "lease": ("interrupted", "the lease ran out"),
            "head-unreachable": ("interrupted", "the head of the Ray cluster could not be reached"),
            "guard-died": ("interrupted", "the attempt's guard was killed"),
            "ended": ("interrupted", f"{record.step} on this node ended with exit code {record.exit_code}"),
        }
        return replace(self._stopped(*causes[record.cause]), ray_ended=record.cause == "head-unreachable")

    def _stopped(self, outcome: Outcome, detail: str, exit_code: int | None = None, *, of_ray: bool = False) -> Stopped:
        last_lines = self._folder.last_lines(self._around.secrets.known_mask(), of_ray=of_ray)
        return Stopped(self._command.attempt_id, outcome, exit_code, detail, last_lines)
