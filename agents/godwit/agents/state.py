"""What an agent knows and decides, without I/O or a clock: the same core runs in production and in simulation.

An attempt here is *live* from the start that was taken on until the runtime says that no process is left. Rules:

- epochs of a job only grow: a start whose epoch is not above every epoch seen of its job is refused;
- a newer epoch, or a start on GPUs that a stopping attempt still holds, waits: it stays unanswered, the control plane
  repeats it, and it is taken on once the older attempt is gone, so two epochs are never live at once;
- without a lease nothing starts (a start waits, unanswered), and what runs is stopped, replicas an hour later;
- every attempt that started ends in exactly one attempt-stopped, and so does one that was stopped before it started.

`now` and `sent_at` are seconds on one clock that never goes back and survives the agent (a node's is CLOCK_BOOTTIME).
Save `to_json()` before carrying out the effects of a call and before sending its observations.
"""

from collections.abc import Iterable
from typing import Any

from godwit.agents import leases, sharing
from godwit.agents.effects import (
    Checked,
    Committed,
    Copied,
    Effect,
    Found,
    HealthEvent,
    Noticed,
    Order,
    Outcome,
    Progress,
    Repaired,
    Running,
    Runs,
    RuntimeEvent,
    StartRuntime,
    Stopped,
    StopRuntime,
    effect_of,
)
from godwit.agents.journal import REMEMBERED, AttemptEntry, Journal, forget_oldest
from godwit.agents.saying import SAID
from godwit.domain import grace
from godwit.domain.wire.agents import (
    AttemptRunning,
    AttemptStopped,
    Command,
    CommandDone,
    JobProgress,
    LiveAttempt,
    Observation,
    StartAttempt,
    StopAttempt,
)
from godwit.domain.wire.copies import CopyDone
from godwit.domain.wire.health import ChecksDone, FindingSeen, RepairDone
from godwit.domain.wire.notices import NoticeSeen

OBSERVATIONS_PER_HEARTBEAT = 256
"""The bound of `HeartbeatRequest.observations`."""

LAST_LINES = 50
LINE_CHARS = 2_048
DETAIL_CHARS = 4_096
"""The bounds of `AttemptStopped`."""


class AgentState:
    """The core of one agent. Not safe for use from several threads at once."""

    def __init__(self, agent_id: str) -> None:
        self._journal = Journal(agent_id=agent_id)

    @property
    def agent_id(self) -> str:
        """The name under which this agent joined."""
        return self._journal.agent_id

    def to_json(self) -> str:
        """The journal: all of it, as text."""
        return self._journal.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "AgentState":
        """The state as it was when `to_json` was called; raises `ValueError` for anything else."""
        state = cls("")
        state._journal = Journal.model_validate_json(text)
        return state

    def command(self, cmd: Command, now: float) -> list[Effect]:
        """Take a command on, or refuse it, or leave it for later; one already answered is at most answered again."""
        if (accepted := self._journal.answered.get(cmd.intent_id)) is not None:
            if cmd.intent_id not in self.unacknowledged_intents():  # of a restored database, which lost the answer
                self._answer(cmd.intent_id, accepted=accepted, detail="" if accepted else "it was refused before")
            return []
        if isinstance(cmd, StartAttempt):
            return self._start(cmd, now)
        return self._stop_by_command(cmd) if isinstance(cmd, StopAttempt) else self._take_order(cmd)

    def fenced(self, attempt_ids: Iterable[str], now: float) -> list[Effect]:
        """Stop these attempts now: the control plane no longer counts on them."""
        del now  # fencing does not depend on when
        detail = "fenced: a newer attempt of the job exists, or its GPUs were given away"
        found = filter(None, map(self._journal.attempts.get, attempt_ids))
        return [effect for attempt in found for effect in self._stop(attempt, "interrupted", detail, 0.0)]

    def renewed(self, sent_at: float, lease_s: float) -> None:
        """The heartbeat sent at `sent_at` was answered; an answer that overtook a later one changes nothing."""
        self._journal.lease_until = max(sent_at + lease_s, self._journal.lease_until or 0.0)

    @property
    def lease_until(self) -> float | None:
        """Until when attempts may run here; None before the first renewal."""
        return self._journal.lease_until

    def tick(self, now: float) -> list[Effect]:
        """Stop everything if the lease ran out; replicas of services may run for longer."""
        detail = "the lease ran out: the control plane did not answer in time"
        late = [a for a in self._live() if not self._has_lease(now - leases.beyond_s(a.command))]
        return [e for a in late for e in self._stop(a, "interrupted", detail, 0.0)]

    def resume(self, now: float) -> list[Effect]:
        """The effects owed after a restart from the journal: attempts are found again or stopped, orders repeated."""
        self.tick(now)
        orders: list[Effect] = [effect_of(order) for order in self._journal.orders.values()]
        return orders + [
            StopRuntime(a.attempt_id, a.grace_s, a.stop_detail) if a.phase == "stopping" else StartRuntime(a.command)
            for a in self._live()
            if a.command is not None
        ]

    def runtime(self, event: RuntimeEvent, now: float) -> list[Effect]:
        """Turn what the runtime saw into observations; of an ended attempt, only what was stored late counts."""
        del now  # events carry their own instants where one matters
        attempt = self._journal.attempts.get(event.attempt_id)
        if attempt is None or (attempt.phase == "stopped" and not isinstance(event, Committed)):
            return []
        match event:
            case Running():
                self._running(attempt)
            case Stopped():
                self._stopped(attempt, event)
            case Progress():
                self._progress(attempt, event)
            case _:
                self._observe(SAID[type(event)], attempt, **_fields(event))
        return []

    def health(self, event: HealthEvent, now: float) -> list[Effect]:
        """Turn what a check, a repair or a copy said into an observation; an order that is not known is over."""
        del now
        match event:
            case Found():
                self._journal.append(FindingSeen, **{**vars(event), "evidence": dict(event.evidence)})
            case Checked() if self._journal.orders.pop(event.intent_id, None):
                self._journal.append(ChecksDone, **{**vars(event), "figures": dict(event.figures)})
            case Repaired() if self._journal.orders.pop(event.intent_id, None):
                self._journal.append(RepairDone, **vars(event))
            case Copied() if self._journal.orders.pop(event.intent_id, None):
                self._journal.append(CopyDone, **vars(event))
        return []

    def noticed(self, event: Noticed) -> list[Effect]:
        """Tell that the machine is going, and let what runs save; it is told here, without waiting for anybody."""
        self._journal.append(NoticeSeen, **vars(event))
        going, grace_s = [] if event.within_s is None else self._live(), grace.within(event.within_s or 0.0)
        # A replica has nothing to save: it serves on until the control plane has another in its place, and stops it.
        going = [a for a in going if a.command is None or a.command.serve is None]
        return [e for a in going for e in self._stop(a, "interrupted", event.reason, grace_s)]

    def observations(self) -> list[Observation]:
        """What the control plane has not acknowledged, oldest first, as much as one heartbeat holds."""
        return self._journal.outbox[:OBSERVATIONS_PER_HEARTBEAT]

    def acknowledge(self, seq: int) -> None:
        """Forget the observations up to `seq`: the control plane has stored them."""
        self._journal.acknowledge(seq)

    def restored(self, at: float | None) -> bool:
        """The control plane was last restored `at`: what it may have forgotten is told again. Whether there is such."""
        return self._journal.restored(at)

    def live(self) -> list[LiveAttempt]:
        """The attempts that may have a process here now."""
        return [LiveAttempt(attempt_id=a.attempt_id, epoch=a.epoch) for a in self._live()]

    def commands(self) -> list[StartAttempt]:
        """The commands behind the live attempts."""
        return [a.command for a in self._live() if a.command is not None]

    def runs(self) -> list[Runs]:
        """The live attempts, and whether their programs work."""
        return [Runs(a.command, a.is_working) for a in self._live() if a.command is not None]

    def unacknowledged_intents(self) -> list[str]:
        """The intents that were answered, but whose answer the control plane has not acknowledged."""
        return [o.intent_id for o in self._journal.outbox if isinstance(o, CommandDone)]

    def _start(self, cmd: StartAttempt, now: float) -> list[Effect]:
        older = [a for a in self._live() if a.job_id == cmd.job_id]
        if not self._has_lease(now):
            return []  # unanswered, so it is repeated: the next heartbeat may bring the lease
        if cmd.epoch <= self._journal.epochs.get(cmd.job_id, -1):
            seen = self._journal.epochs[cmd.job_id]
            return self._refuse(cmd, f"stale epoch {cmd.epoch}: epoch {seen} of this job was seen here")
        if older:
            detail = f"epoch {cmd.epoch} of the job was placed"
            return [e for a in older for e in self._stop(a, "interrupted", detail, 0.0)]
        staying = [a.command for a in self._live() if a.command is not None and a.phase != "stopping"]
        if not sharing.fits_beside(cmd, staying):
            holder = next(other for other in staying if set(other.gpus) & set(cmd.gpus))
            return self._refuse(cmd, f"its GPUs are held by attempt {holder.attempt_id}")
        if not sharing.fits_beside(cmd, self.commands()):
            return []  # until those who are stopping have stopped
        self._see(cmd.job_id, cmd.epoch)
        self._journal.attempts[cmd.attempt_id] = AttemptEntry(
            attempt_id=cmd.attempt_id, job_id=cmd.job_id, epoch=cmd.epoch, phase="starting", command=cmd
        )
        self._answer(cmd.intent_id, accepted=True)
        return [StartRuntime(cmd)]

    def _refuse(self, cmd: StartAttempt, detail: str) -> list[Effect]:
        # A refusal is final: the control plane acts on it, so the same epoch must not start here later.
        self._see(cmd.job_id, cmd.epoch)
        self._answer(cmd.intent_id, accepted=False, detail=detail)
        return []

    def _stop_by_command(self, cmd: StopAttempt) -> list[Effect]:
        self._see(cmd.job_id, cmd.epoch)
        self._answer(cmd.intent_id, accepted=True)
        attempt = self._journal.attempts.get(cmd.attempt_id)
        if attempt is not None:
            return self._stop(attempt, "cancelled", cmd.reason, cmd.grace_s)
        attempt = AttemptEntry(attempt_id=cmd.attempt_id, job_id=cmd.job_id, epoch=cmd.epoch, phase="starting")
        self._journal.attempts[cmd.attempt_id] = attempt
        self._stopped(attempt, Stopped(cmd.attempt_id, "cancelled", detail="it was stopped before it started here"))
        return []

    def _take_order(self, cmd: Order) -> list[Effect]:
        self._journal.orders[cmd.intent_id] = cmd
        self._answer(cmd.intent_id, accepted=True)
        return [effect_of(cmd)]

    def _stop(self, attempt: AttemptEntry, outcome: Outcome, detail: str, grace_s: float) -> list[Effect]:
        if attempt.phase == "stopped" or (attempt.phase == "stopping" and grace_s >= attempt.grace_s):
            return []
        if attempt.phase != "stopping":  # the first reason to stop is the one that is told
            attempt.phase, attempt.stop_outcome, attempt.stop_detail = "stopping", outcome, detail
        attempt.grace_s = grace_s
        return [StopRuntime(attempt.attempt_id, grace_s, detail)]

    def _running(self, attempt: AttemptEntry) -> None:
        if attempt.phase == "starting":
            attempt.phase = "running"
            self._observe(AttemptRunning, attempt)

    def _stopped(self, attempt: AttemptEntry, event: Stopped) -> None:
        told = attempt.phase == "stopping" and event.outcome != "succeeded"
        attempt.phase = "stopped"
        self._observe(
            AttemptStopped,
            attempt,
            outcome=attempt.stop_outcome if told else event.outcome,
            exit_code=None if told else event.exit_code,
            detail=(attempt.stop_detail if told else event.detail)[:DETAIL_CHARS],
            ray_ended=event.ray_ended and not told,
            preflight_failed=event.preflight_failed and not told,
            last_lines=[line[:LINE_CHARS] for line in event.last_lines[-LAST_LINES:]],
        )
        ended = [key for key, a in self._journal.attempts.items() if a.phase == "stopped"]
        for key in ended[:-REMEMBERED]:
            del self._journal.attempts[key]

    def _progress(self, attempt: AttemptEntry, event: Progress) -> None:
        keep = [
            o for o in self._journal.outbox if not (isinstance(o, JobProgress) and o.attempt_id == attempt.attempt_id)
        ]
        self._journal.outbox = keep
        self._observe(JobProgress, attempt, **{**_fields(event), "metrics": dict(event.metrics)})

    def _observe(self, kind: Any, attempt: AttemptEntry, **fields: Any) -> None:
        self._journal.append(kind, **fields, attempt_id=attempt.attempt_id, epoch=attempt.epoch)

    def _answer(self, intent_id: str, *, accepted: bool, detail: str = "") -> None:
        self._journal.answered[intent_id] = accepted
        forget_oldest(self._journal.answered)
        self._journal.append(CommandDone, intent_id=intent_id, accepted=accepted, detail=detail)

    def _see(self, job_id: str, epoch: int) -> None:
        seen = self._journal.epochs.pop(job_id, epoch)
        self._journal.epochs[job_id] = max(seen, epoch)
        forget_oldest(self._journal.epochs)

    def _has_lease(self, now: float) -> bool:
        return self._journal.lease_until is not None and now < self._journal.lease_until

    def _live(self) -> list[AttemptEntry]:
        return [a for a in self._journal.attempts.values() if a.phase != "stopped"]


def _fields(event: RuntimeEvent) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(event).items() if k != "attempt_id"}
