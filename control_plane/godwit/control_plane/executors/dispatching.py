"""Tells workers which intents are due. The rows are the truth: what a broker loses or repeats only costs time."""

import json
import threading
from collections.abc import Mapping, Sequence

import structlog
from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.executors.brokers import BrokerAway, Courier
from godwit.control_plane.store import queries, writes
from godwit.domain.ids import IntentId
from godwit.domain.intents import FOR_PROVIDERS, Intent
from sqlalchemy import Connection

log = structlog.get_logger()

SEND_AGAIN_S, SEND_AGAIN_BUSY_S = 5.0, 60.0
"""What nobody claimed so long after it was sent is sent again: soon where the queue is empty, so that it must be lost
or its worker dead; later where messages still wait for workers."""

TASKS_MAX = 10_000
"""With so many messages in the queue no more are sent: nobody takes them, and rows forget nothing."""

BATCH_MAX = 500
"""The most that one step sends, so that a step ends and the others are looked at again."""

LOOK_S, PAUSE_S, PAUSE_MAX_S = 5.0, 0.5, 30.0
UNCLAIMED_S = 30.0
"""An intent that is due for so long and was sent has no worker that takes it: people are told."""

STANDING, URL = "executors", "url"
"""Names in the table `meta`: how sending goes, for those who look, and where agents reach the control plane that leads,
for the startup scripts that workers write."""

Sent = Mapping[tuple[IntentId, int], float]
"""An intent and its version -> when a message about it was sent."""


def to_send(due: Sequence[Intent], sent: Sent, waiting: int, now: float) -> list[Intent]:
    """Of the intents that are due, those to be sent now, oldest first: new ones, and those whose message seems lost.

    One that was claimed, tried or put off since has another version, and counts as new. Pure.
    """
    again_s = SEND_AGAIN_BUSY_S if waiting else SEND_AGAIN_S
    found = [one for one in due if now - sent.get((one.id, one.version), -again_s) >= again_s]
    return found[: max(0, min(BATCH_MAX, TASKS_MAX - waiting))]


def unclaimed_s(due: Sequence[Intent], now: float) -> float:
    """For how long that intent has been due which waits longest; 0 when none is."""
    return max((now - max(one.not_before, one.created_at) for one in due), default=0.0)


def trouble(conn: Connection) -> str:
    """What is wrong with how workers are told, as the control plane that leads wrote it down; empty: nothing."""
    return str(json.loads(queries.meta(conn, STANDING) or "{}").get("trouble", ""))


class Dispatcher:
    """The loop of the control plane that leads, where workers carry intents out."""

    def __init__(self, context: Context, courier: Courier) -> None:
        self._context, self._courier = context, courier
        self._sent: dict[tuple[IntentId, int], float] = {}
        self._told: str | None = None

    def step(self) -> float | None:
        """Send what is due; returns when the next intent comes due, None when none is owed. Raises `BrokerAway`."""
        now = self._context.now()
        with self._context.db.read() as conn:
            owed = queries.pending_intents(conn, FOR_PROVIDERS)
        due = [one for one in owed if one.not_before <= now]
        known = {(one.id, one.version) for one in due}
        self._sent = {key: at for key, at in self._sent.items() if key in known}
        # Also with nothing due: that the broker is away is to be known before it is needed.
        waiting = self._courier.waiting()
        self._context.instruments.broker(self._courier.where, is_up=True, waiting=waiting)
        if due:
            for intent in to_send(due, self._sent, waiting, now):
                self._courier.send(intent.id)
                self._sent[intent.id, intent.version] = now
                self._context.instruments.sent()
        late = unclaimed_s(due, now) > UNCLAIMED_S
        self._tell("no worker takes what is due; start some (docs/operations.md)" if late else "")
        return min((one.not_before for one in owed if one.not_before > now), default=None)

    def run(self, stopping: threading.Event) -> None:
        """Send until `stopping` is set. A broker that is away is tried again, with pauses up to `PAUSE_MAX_S`."""
        pause_s, seen = PAUSE_S, 0
        while not stopping.is_set():
            try:
                seen = self._context.hints.count(hints.INTENTS)
                with self._context.instruments.step("executor"):
                    next_at = self.step()
            except BrokerAway as away:
                self._context.instruments.broker(self._courier.where, is_up=False)
                log.warning("workers cannot be told", broker=self._courier.where, why=away.message, next_try_s=pause_s)
                self._say(f"{self._courier.where} does not answer: {away.message}")
                stopping.wait(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            except Exception:
                log.exception("looking for intents failed")
                stopping.wait(PAUSE_S)
            else:
                pause_s = PAUSE_S
                left_s = LOOK_S if next_at is None else next_at - self._context.now()
                self._context.hints.wait(hints.INTENTS, seen, min(LOOK_S, max(0.05, left_s)))

    def _say(self, trouble: str) -> None:
        try:
            self._tell(trouble)
        except Exception:
            log.exception("who looks does not learn how executors do")

    def _tell(self, trouble: str) -> None:
        """Write down how it goes, once for each change: other control planes show it, and workers read the URL."""
        if trouble == self._told:
            return
        told = {"broker": self._courier.where, "trouble": trouble, "since": self._context.now()}
        with self._context.db.write() as tx:
            writes.replace_meta(tx, STANDING, json.dumps(told))
            writes.replace_meta(tx, URL, self._context.url)
        self._told = trouble
