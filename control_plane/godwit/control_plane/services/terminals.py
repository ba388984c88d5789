"""Terminals to dev environments, from when a person asks for one until both ends are there, or it is too late.

They live in this process only. With several replicas of the API a person and the agent may reach different ones: then
nobody comes to join them, and the person is told so after `JOIN_S` (docs/dev.md says what to do).
"""

import asyncio
import hmac
import secrets as randomness
import threading
from dataclasses import dataclass, field
from typing import Any

from godwit.control_plane import hints, secrets
from godwit.control_plane.context import Context
from godwit.control_plane.services import node_access
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, InvalidRequest, Problem, Unauthenticated
from godwit.domain.events import Event
from godwit.domain.jobs import AttemptState, JobKind
from godwit.domain.wire.dev import OpenTerminal, TerminalOpened, TerminalWanted

JOIN_S = 30.0
"""How long one end waits for the other: an agent that polls hears within a second, and the desk within its own 20 s."""

IDLE_S = 12 * 3600.0
"""A line on which nothing moves for so long is cut: its other end may be gone without a word."""

OF_JOB_MAX = 16
IN_ALL_MAX = 256
"""Terminals that wait or are open: each holds some 200 KB of what is under way."""


@dataclass
class Terminal:
    """One terminal; `ends` are the connections of the person and of the agent, once they came."""

    order: OpenTerminal
    job_id: str
    node_id: str
    token_hash: str
    asked_at: float
    moved_at: float
    ends: dict[str, Any] = field(default_factory=dict)
    joined: asyncio.Event = field(default_factory=asyncio.Event)


class Terminals:
    """Those of this process."""

    def __init__(self) -> None:
        self._known: dict[str, Terminal] = {}
        self._lock = threading.Lock()

    def open(self, context: Context, name_or_id: str, wanted: TerminalWanted, actor: str) -> TerminalOpened:
        """Ask the node of a running environment for a terminal. Raises `NotFound`, `InvalidRequest`, `Conflict`."""
        now, terminal_id, token = context.now(), context.ids.new("term"), randomness.token_urlsafe(32)
        with context.db.write() as tx:
            job = queries.job(tx.conn, name_or_id)
            if job.spec.kind is not JobKind.DEV:
                message = f"{job.spec.name} is of kind {job.spec.kind}; only dev environments have terminals"
                raise InvalidRequest(problems=[Problem(("job",), message)])
            live = [one for one in queries.live_attempts(tx.conn) if one.job_id == job.id]
            if not live or live[0].state is not AttemptState.RUNNING:
                raise Conflict(f"{job.spec.name} is {job.state}; it has terminals while it is running")
            node_id = live[0].head.node_id
            order = OpenTerminal(intent_id=terminal_id, attempt_id=live[0].id, wanted=wanted)
            self._add(Terminal(order, job.id, node_id, secrets.digest(token), now, now))
            # Not what was asked for: a command line may hold a secret.
            what = "a command" if wanted.argv else "a terminal"
            entities.append(tx, Event(now, "job.terminal", "job", job.id, f"{what} was opened there", actor,
                                      job_id=job.id, node_id=node_id, data={"terminal": terminal_id}))  # fmt: skip
        context.hints.announce(hints.commands_of(node_id))
        return TerminalOpened(id=terminal_id, token=token)

    def _add(self, terminal: Terminal) -> None:
        with self._lock:
            for old in list(self._known.values()):
                if not old.ends and terminal.asked_at - old.asked_at > JOIN_S:
                    del self._known[old.order.intent_id]
            of_job = sum(1 for one in self._known.values() if one.job_id == terminal.job_id)
            if of_job >= OF_JOB_MAX or len(self._known) >= IN_ALL_MAX:
                raise Conflict(f"{of_job} terminals of it are open, {len(self._known)} in all; close some first")
            self._known[terminal.order.intent_id] = terminal

    def owed(self, node_id: str, known: set[str], now: float) -> list[OpenTerminal]:
        """What a node has to dial for, and does not know of."""
        with self._lock:
            waiting = [one for one in self._known.values() if one.node_id == node_id and "agent" not in one.ends]
        fresh = [one.order for one in waiting if now - one.asked_at <= JOIN_S]
        return [order for order in fresh if order.intent_id not in known]

    def of_person(self, terminal_id: str, token: str, now: float) -> Terminal:
        """The terminal that this token opens, once. Raises `Unauthenticated`."""
        with self._lock:
            terminal = self._known.get(terminal_id)
            good = terminal is not None and hmac.compare_digest(terminal.token_hash, secrets.digest(token))
            if terminal is None or not good or "person" in terminal.ends or now - terminal.asked_at > JOIN_S:
                raise Unauthenticated("this terminal is not open to you; ask for one anew")
            terminal.ends["person"] = None
            return terminal

    def of_agent(self, context: Context, tx: Transaction, terminal_id: str, credential: str) -> Terminal:
        """The terminal for which this node was told to dial, once. Raises `Unauthenticated`."""
        node, _ = node_access.authenticate(context, tx, credential)
        with self._lock:
            terminal = self._known.get(terminal_id)
            if terminal is None or terminal.node_id != node.id or "agent" in terminal.ends:
                raise Unauthenticated("this terminal is not for this node, or was dialled for before")
            terminal.ends["agent"] = None
            return terminal

    def forget(self, terminal: Terminal) -> None:
        """It is over."""
        with self._lock:
            self._known.pop(terminal.order.intent_id, None)

    def is_over(self, context: Context, terminal: Terminal) -> bool:
        """Whether its environment ended there, or nothing has moved for too long."""
        if context.now() - terminal.moved_at > IDLE_S:
            return True
        with context.db.read() as conn:
            return all(one.id != terminal.order.attempt_id for one in queries.live_attempts(conn))
