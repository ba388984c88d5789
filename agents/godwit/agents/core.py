"""The one place where the agent's state changes: decide, save the journal, then carry out the effects."""

import threading
from collections.abc import Callable
from pathlib import Path

from godwit.agents import leases
from godwit.agents.effects import Effect, HealthEvent, Noticed, Runs
from godwit.agents.runtime.guard import boottime_s, write_whole
from godwit.agents.state import OBSERVATIONS_PER_HEARTBEAT, AgentState
from godwit.domain.errors import GodwitError
from godwit.domain.wire.agents import Command, HeartbeatReply, HeartbeatRequest, JobProgress
from godwit.domain.wire.loads import NodeLoad

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class JournalLost(GodwitError):
    """The agent cannot write its journal; it ends, and goes on from what is written once it is started again."""


class Core:
    """The state of the agent, its journal and its lease file, for use from several threads.

    `carry_out` is called with one effect at a time, in order, and must not block; it may not call back.

    Once a change could not be written, what is in memory is ahead of the journal, and its effects were left out: every
    further call raises `JournalLost`, so that the agent ends, whichever of its threads met the full disk.
    """

    def __init__(self, state: AgentState, node_dir: Path, carry_out: Callable[[Effect], None]) -> None:
        self._state = state
        self._node_dir = node_dir
        self._carry_out = carry_out
        self._lock = threading.Lock()
        self._lost: JournalLost | None = None
        self.urgent = threading.Event()
        """Set when an observation waits that should not wait for the next heartbeat."""

    @property
    def lease_path(self) -> Path:
        """The file in which the guards read until when they may run."""
        return self._node_dir / "lease"

    def apply(self, decide: Callable[[AgentState, float], list[Effect]]) -> None:
        """Let `decide(state, now)` change the state; its effects follow once the journal holds the change."""
        with self._lock:
            self._refuse_if_lost()
            before = self._state.observations()[-1:]
            effects = decide(self._state, boottime_s())
            self._save()
            for effect in effects:
                self._carry_out(effect)
            after = self._state.observations()[-1:]
            if after != before and not isinstance(after[0] if after else None, JobProgress):
                self.urgent.set()

    def command(self, command: Command) -> None:
        """Take on a command from the control plane."""
        self.apply(lambda state, now: state.command(command, now))

    def health(self, event: HealthEvent) -> None:
        """Tell what a check found, or that ordered checks or an ordered repair are over."""
        self.apply(lambda state, now: state.health(event, now))

    def noticed(self, event: Noticed) -> None:
        """Tell that the machine is taken back; what runs is told to save."""
        self.apply(lambda state, _now: state.noticed(event))

    def tick(self) -> None:
        """Stop everything if the lease ran out."""
        with self._lock:
            effects = self._state.tick(boottime_s())
        if effects:  # the journal must say so before it happens: decide again is harmless, nothing comes twice
            self.apply(lambda _state, _now: effects)

    def heartbeat(self, load: NodeLoad | None = None) -> HeartbeatRequest:
        """What to say now; `load` is how hard the GPUs work, where that is new."""
        with self._lock:
            self._refuse_if_lost()
            return HeartbeatRequest(
                agent_id=self._state.agent_id,
                sent_at=boottime_s(),
                attempts=self._state.live()[:256],
                observations=self._state.observations(),
                load=load,
                renews=True,
                retells=True,
            )

    def answered(self, sent_at: float, reply: HeartbeatReply) -> bool:
        """Take in the answer to the heartbeat sent at `sent_at`; returns whether more waits than one holds."""
        with self._lock:
            self.renewed(sent_at, reply.lease_s)
            before = self._state.observations()
            self._state.acknowledge(reply.acknowledged_seq)
            if self._state.restored(reply.restored_at):
                self._save()
            left = self._state.observations()
            # If nothing of a full heartbeat was taken there is no hurry: the next one will do.
            more = len(before) == OBSERVATIONS_PER_HEARTBEAT and bool(left) and left[0].seq > before[0].seq
        if reply.fenced:
            self.apply(lambda state, now: state.fenced(reply.fenced, now))
        return more

    def renewed(self, sent_at: float, lease_s: float) -> None:
        """Move the lease on, here and for the guards."""
        self._state.renewed(sent_at, lease_s)
        until, boot_id = self._state.lease_until or 0.0, _BOOT_ID.read_text()
        self._write(self.lease_path, f"{until} {boot_id}")
        self._write(leases.of_replicas(self.lease_path), f"{until + leases.REPLICA_S} {boot_id}")

    def intents(self) -> list[str]:
        """The intents answered whose answer is not acknowledged."""
        with self._lock:
            return self._state.unacknowledged_intents()[-1024:]

    def count(self) -> tuple[int, int]:
        """How many attempts live here, and how many observations wait."""
        with self._lock:
            return len(self._state.live()), len(self._state.observations())

    def lease_left_s(self) -> float:
        """For how long attempts may run if nothing more is heard; 0 without a lease, negative once it is over."""
        with self._lock:
            until = self._state.lease_until
        return 0.0 if until is None else until - boottime_s()

    def held(self) -> set[int]:
        """The GPUs (indexes) that live attempts have."""
        with self._lock:
            return {index for command in self._state.commands() for index in command.gpus}

    def runs(self) -> list[Runs]:
        """The live attempts and whether their programs run."""
        with self._lock:
            return self._state.runs()

    def _save(self) -> None:
        self._write(self._node_dir / "journal.json", self._state.to_json())

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, text)
        except OSError as exc:
            self._lost = JournalLost(f"{path} cannot be written ({exc.strerror}); the agent ends and is started again")
            self.urgent.set()  # whoever sends heartbeats is the one that ends the process
            raise self._lost from exc

    def _refuse_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost


def load(node_dir: Path, agent_id: str) -> AgentState:
    """The state from the journal, with the lease as the lease file has it; a fresh one when there is no journal.

    A lease from before a reboot counts for nothing: the clock began anew.
    """
    path = node_dir / "journal.json"
    if not path.exists():
        return AgentState(agent_id)
    state = AgentState.from_json(path.read_text())
    parts = (node_dir / "lease").read_text().split() if (node_dir / "lease").exists() else []
    if len(parts) == 2 and parts[1] == _BOOT_ID.read_text().strip():
        state.renewed(float(parts[0]), 0.0)
    return state
