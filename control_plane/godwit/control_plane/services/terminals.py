"""Terminals to dev environments, from when a person asks for one until both ends are there, or it is too late.

They live in this process only, where the person asked. With several control planes the two ends may reach others: a
row says where each waits (`store/lines`), and who is reached carries the line there (`api/relays`).
"""

import asyncio
import hmac
import secrets as randomness
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from godwit.control_plane import hints, keyring
from godwit.control_plane.context import Context
from godwit.control_plane.services import node_access
from godwit.control_plane.store import entities, lines, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, InvalidRequest, Problem, Unauthenticated
from godwit.domain.events import Event
from godwit.domain.jobs import AttemptState, JobKind
from godwit.domain.wire.dev import OpenTerminal, TerminalOpened, TerminalWanted
from sqlalchemy import Connection

JOIN_S = 30.0
"""How long one end waits for the other: an agent that polls hears within a second, and the desk within its own 20 s."""

IDLE_S = 12 * 3600.0
"""A line on which nothing moves for so long is cut: its other end may be gone without a word."""

OF_JOB_MAX = 16
IN_ALL_MAX = 256
"""Terminals that wait or are open: each holds some 200 KB of what is under way."""


class Standing(Protocol):
    """Whether the person who asked may still have it."""

    async def lasts(self) -> bool:
        """Whether that is so now."""

    async def over(self) -> None:
        """Wait until it is not."""


@dataclass
class Terminal:
    """One terminal; `ends` are the connections of the person and of the agent, once they came."""

    order: OpenTerminal
    job_id: str
    node_id: str
    token_hash: str
    standing: Standing
    asked_at: float
    moved_at: float
    ends: dict[str, Any] = field(default_factory=dict)
    joined: asyncio.Event = field(default_factory=asyncio.Event)


class Terminals:
    """Those of this process, which other control planes reach at `url`; empty where there are no others."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self._known: dict[str, Terminal] = {}
        self._lock = threading.Lock()

    def open(
        self, context: Context, name_or_id: str, wanted: TerminalWanted, actor: str, standing: Standing
    ) -> TerminalOpened:
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
            self._add(Terminal(order, job.id, node_id, keyring.digest(token), standing, now, now))
            # Not what was asked for: a command line may hold a secret.
            what = "a command" if wanted.argv else "a terminal"
            entities.append(tx, Event(now, "job.terminal", "job", job.id, f"{what} was opened there", actor,
                                      job_id=job.id, node_id=node_id, data={"terminal": terminal_id}))  # fmt: skip
            if self.url:
                lines.add(tx, terminal_id, node_id, self.url, now, 2 * JOIN_S)
            tx.hint(hints.commands_of(node_id))
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

    def elsewhere(self, conn: Connection, node_id: str, known: set[str], now: float) -> set[str]:
        """At which other control planes terminals wait that a node has to dial for, and does not know of."""
        if not self.url:
            return set()
        waiting = lines.of_node(conn, node_id, now - JOIN_S)
        return {url for terminal_id, url in waiting if terminal_id not in known} - {self.url}

    def whereabouts(self, conn: Connection, terminal_id: str) -> str | None:
        """The other control plane at which a terminal waits; None when that is here, or nowhere."""
        with self._lock:
            is_here = terminal_id in self._known
        url = lines.where(conn, terminal_id) if self.url and not is_here else None
        return url if url != self.url else None

    def of_person(self, terminal_id: str, token: str, now: float) -> Terminal:
        """The terminal that this token opens, once. Raises `Unauthenticated`."""
        with self._lock:
            terminal = self._known.get(terminal_id)
            good = terminal is not None and hmac.compare_digest(terminal.token_hash, keyring.digest(token))
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
