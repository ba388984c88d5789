"""Following a job to its end: its output on stdout, its story on stderr, through control-plane restarts.

    events stream ──┐
    log stream ─────┼──▶ bounded queue ──▶ one printer (the main thread) ──▶ stdout, stderr, progress line
    job, polled ────┘

Three threads read, each with its own connection; when the queue is full they wait, so nothing grows without bound.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from godwit.cli import figures, following
from godwit.cli.client import ControlPlane, Refused, Unreachable
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.output import JobOutput
from godwit.domain.wire.views import EventView, JobDetail, JobView

QUEUE_MAX = 1_000
POLL_S = 2.0
"""How often progress and state are looked at; the streams carry everything that must not be missed."""

DRAIN_S = 3.0
"""Once the job is final, how long to wait for the rest of its story."""

FINAL_STATES = ("succeeded", "failed", "cancelled")
Connect = Callable[[], ControlPlane]


@dataclass(frozen=True)
class Heard:
    """Something that a reader heard; `source` is "log", "event" or "job"."""

    source: str
    what: Any


@dataclass
class StatusLine:
    """The line at the bottom that says how far the job is; it steps aside for other output.

    Written by hand: the job's output may hold control codes of its own, which a live display would measure wrongly.
    """

    out: TextIO
    enabled: bool
    _shown: bool = False

    def show(self, text: str, width: int) -> None:
        """Replace the line."""
        if self.enabled:
            self.out.write(f"\r\x1b[2K{text[: max(10, width - 1)]}")
            self.out.flush()
            self._shown = True

    def clear(self) -> None:
        """Make room for other output."""
        if self._shown:
            self.out.write("\r\x1b[2K")
            self.out.flush()
            self._shown = False


@dataclass
class Story:
    """What has been seen of the job so far, and how it is told."""

    stdout: TextIO
    stderr: TextIO
    status: StatusLine
    job: JobView | None = None
    log_ended: bool = False
    away: set[str] = field(default_factory=set)
    _midline: bool = False
    _output: JobOutput = field(init=False)

    def __post_init__(self) -> None:
        self._output = JobOutput(self.stdout)

    def tell(self, heard: Heard) -> None:
        """Print what was heard."""
        what = heard.what
        if isinstance(what, following.Away):
            self._outage(heard.source, what)
        elif isinstance(what, following.Back):
            self._recovery(heard.source)
        elif isinstance(what, JobView):
            self.job = what
        elif heard.source == "log":
            self._log(what)
        elif heard.source == "event":
            self._event(EventView.model_validate(what.data))

    def _outage(self, source: str, away: following.Away) -> None:
        if not self.away:
            minutes = following.PATIENCE_S / 60
            self.say(f"{away.message.split(' (')[0]}; the job goes on; trying again for {minutes:.0f} minutes")
        self.away.add(source)

    def _recovery(self, source: str) -> None:
        self.away.discard(source)
        if not self.away:
            self.say("the control plane answers again")

    def _log(self, event: following.StreamEvent) -> None:
        if event.kind == "end":
            self.log_ended = True
            self._output.end()
        elif event.kind == "log":
            text = str(event.data.get("text", ""))
            self.status.clear()
            self._output.write(text)
            self._midline = bool(text) and not text.endswith("\n")

    def _event(self, event: EventView) -> None:
        line = describe(event)
        if line:
            self.say(f"{figures.clock(event.at)} {line}")

    def say(self, line: str) -> None:
        """Say something of godwit's own, on a line of its own."""
        self.status.clear()
        if self._midline:
            self.stdout.write("\n")
            self.stdout.flush()
            self._midline = False
        self.stderr.write(f"[godwit] {line}\n")
        self.stderr.flush()

    def progress_line(self, now: float, width: int) -> None:
        """Draw how far the job is, unless the program stands in the middle of a line of its own."""
        if self.job is not None and not self._midline:
            self.status.show(progress_of(self.job, now), width)


def describe(event: EventView) -> str | None:
    """An event of a job's story in one line; None for what the reader sees anyway (progress) or need not know."""
    if event.kind in ("job.progress", "intent.state"):
        return None
    subject = event.subject if event.subject == "job" else f"{event.subject} {event.subject_id}"
    return f"{subject} {change_of(event)}: {event.reason}"


def change_of(event: EventView) -> str:
    """What changed: the states that it went between, the state that it began in, or what else happened."""
    if event.old and event.new:
        return f"{event.old} -> {event.new}"
    return event.new or event.kind.partition(".")[2]


def progress_of(job: JobView, now: float) -> str:
    """State, step and metrics of a job in one line."""
    parts = [f"{job.name} {job.state} for {figures.duration(now - job.state_since)}"]
    if job.progress is not None:
        total = f"/{job.progress.total_steps}" if job.progress.total_steps is not None else ""
        parts.append(f"step {job.progress.step}{total}")
        parts += [f"{name} {value:.4g}" for name, value in list(job.progress.metrics.items())[:3]]
    if job.epoch > 1:
        parts.append(f"attempt {job.epoch}")
    return " · ".join(parts)


def to_the_end(
    connect: Connect, job_id: str, story: Story, width: Callable[[], int], now: Callable[[], float] = time.time
) -> JobDetail:
    """Follow the job until it is final and its output is read; blocking. Raises `Failure` when that is impossible."""
    heard: queue.Queue[Heard | Failure] = queue.Queue(QUEUE_MAX)
    stop, look = threading.Event(), threading.Event()
    for source in (_log, _events, _polled):
        threading.Thread(target=_read, args=(source(connect, job_id, stop, look), heard, stop), daemon=True).start()
    try:
        _print_until_final(heard, story, width, now)
    finally:
        stop.set()
        story.status.clear()
    return connect().get(f"/v1/jobs/{job_id}", JobDetail)


def exit_code_of(job: JobView) -> int:
    """What `godwit run` exits with: the program's own code, 130 when cancelled, 1 when it failed without one."""
    if job.state == "succeeded":
        return int(ExitCode.OK)
    if job.state == "cancelled":
        return int(ExitCode.CANCELLED)
    return job.exit_code or int(ExitCode.FAILED)


def _print_until_final(
    heard: queue.Queue[Heard | Failure], story: Story, width: Callable[[], int], now: Callable[[], float]
) -> None:
    final_at: float | None = None
    while True:
        try:
            item = heard.get(timeout=0.25)
        except queue.Empty:
            item = None
        if isinstance(item, Failure):
            raise item
        if item is not None:
            story.tell(item)
        if story.job is not None and story.job.state in FINAL_STATES:
            final_at = final_at or now()
        waited_enough = final_at is not None and now() - final_at > DRAIN_S
        if item is None:
            if final_at is not None and (story.log_ended or waited_enough):
                return
            story.progress_line(now(), width())


def _log(connect: Connect, job_id: str, _stop: threading.Event, look: threading.Event) -> Iterator[Heard]:
    for event in following.follow(connect, f"/v1/jobs/{job_id}/logs/stream", {}, last_kind="end"):
        yield Heard("log", event)
    look.set()  # the job is over, or nearly: nobody is to wait for the next poll


def _events(connect: Connect, job_id: str, _stop: threading.Event, _look: threading.Event) -> Iterator[Heard]:
    for event in following.follow(connect, "/v1/events/stream", {"job": job_id, "after": 0}):
        yield Heard("event", event)


def _polled(connect: Connect, job_id: str, stop: threading.Event, look: threading.Event) -> Iterator[Heard]:
    client: ControlPlane | None = None
    while not stop.is_set():
        try:
            client = client or connect()
            detail = client.get(f"/v1/jobs/{job_id}", JobDetail)
            yield Heard("job", detail)
        except (Unreachable, Refused) as failure:
            if isinstance(failure, Refused) and failure.status < 500:
                raise
            client = None  # the streams say so, and give up when it lasts too long
        look.wait(POLL_S)
        look.clear()


def _read(items: Iterator[Heard], heard: queue.Queue[Heard | Failure], stop: threading.Event) -> None:
    try:
        for item in items:
            _put(item, heard, stop)
            if stop.is_set():
                return
    except Failure as failure:
        _put(failure, heard, stop)
    except Exception as exc:  # noqa: BLE001 - the outermost frame of a thread: the printer must hear of it
        _put(Failure(f"following broke off: {type(exc).__name__}: {exc}"), heard, stop)


def _put(item: Heard | Failure, heard: queue.Queue[Heard | Failure], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            heard.put(item, timeout=0.5)
        except queue.Full:
            continue
        return
