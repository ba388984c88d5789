"""The loop of notifications: what happened becomes rows that are owed, and what is owed is sent until it arrives."""

from collections.abc import Iterator, Mapping

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.notifying import messages
from godwit.control_plane.notifying.messages import About
from godwit.control_plane.notifying.sending import Answer, Send
from godwit.control_plane.notifying.targets import Target
from godwit.control_plane.store import figures, outbox
from godwit.control_plane.store.outbox import Owed
from godwit.domain import tracing
from godwit.domain.events import Event

log = structlog.get_logger()

FIRST_PAUSE_S, PAUSE_MAX_S = 5.0, 3_600.0
"""Between tries: 5 s doubling to an hour."""

GIVE_UP_S = 86_400.0
"""A receiver may be away for a day; what it did not take by then is kept, and sent again when somebody says so."""

CLAIM_S = 60.0
"""For how long nobody else sends what is being sent: longer than a try may take."""

EVENTS_MAX, SENDS_MAX = 500, 50
"""Events that become messages, and messages that are sent, in one step."""

CURSOR_EVERY = 1_000
"""Events of no interest after which it is written down that they were looked at; fewer are looked at once more."""

KEPT_S, KEPT_MAX_S = 7 * 86_400.0, 90 * 86_400.0
"""Delivered messages are kept for a week, for whoever asks what was told; others for a quarter of a year."""


def pause_s(tries: int) -> float:
    """How long to wait after so many tries that failed."""
    return float(min(PAUSE_MAX_S, FIRST_PAUSE_S * 2 ** min(max(0, tries - 1), 16)))


class Notifying:
    """`step` is safe to repeat, to kill at any point, and to run in several processes."""

    def __init__(self, context: Context, send: Send) -> None:
        self._context, self._send = context, send
        self._targets = {target.name: target for target in context.targets}
        self._looked_at = 0
        self._resting: dict[str, float] = {}

    def step(self) -> float | None:
        """Owe what is new and send what is due; returns when to come back, None: when something happens."""
        while self._owe():
            pass
        return self._send_due()

    def _owe(self) -> bool:
        """Turn new events into rows; True where there are more of them."""
        with self._context.db.read() as conn:
            kept, newest, found = outbox.cursor(conn), figures.last_event(conn), list[Event]()
            if kept is not None:  # else this is the first look: nothing of the past is told
                after = max(kept, self._looked_at)
                found = outbox.events_to_tell(conn, after, messages.KINDS, EVENTS_MAX)
        is_full = len(found) == EVENTS_MAX
        to = found[-1].seq if is_full else newest
        is_news = any(messages.topic_of(event) for event in found)
        if (kept is None or is_news or to - kept >= CURSOR_EVERY) and not self._write(kept, to, found):
            return False  # another process was first; what it did is seen at the next step
        self._looked_at = to
        return is_full

    def _write(self, kept: int | None, to: int, found: list[Event]) -> bool:
        now = self._context.now()
        with self._context.db.write() as tx:
            if outbox.cursor(tx.conn) != kept:
                return False
            about = outbox.jobs_of(tx.conn, [event.job_id for event in found if event.job_id])
            known = {job_id: About(name, project) for job_id, (name, project) in about.items()}
            outbox.add(tx, list(self._messages(found, known, now)))
            outbox.move_cursor(tx, to)
            outbox.forget(tx, now - KEPT_S, now - KEPT_MAX_S)
        return True

    def _messages(self, found: list[Event], known: Mapping[str, About], now: float) -> Iterator[Owed]:
        for event in found:
            topic, about = messages.topic_of(event), known.get(event.job_id or "")
            if topic is None or event.at < now - GIVE_UP_S:
                continue  # of no interest, or from before these settings were switched on again
            for target in self._targets.values():
                if messages.wants(target, topic, messages.project_of(event, about)):
                    delivery = self._context.ids.new("notice")
                    trace_id = tracing.trace_of(event)
                    body = messages.body(delivery, topic, event, about, self._context.identity, trace_id)
                    yield Owed(delivery, event.seq, target.name, body, now, not_before=now)

    def _send_due(self) -> float | None:
        now = self._context.now()
        resting = {name for name, until in self._resting.items() if until > now}
        names = [name for name in self._targets if name not in resting]
        with self._context.db.read() as conn:
            due = outbox.due(conn, now, names, SENDS_MAX)
        failing = set[str]()
        for one in due:
            if one.target not in failing and not self._send_one(one, self._targets[one.target]):
                failing.add(one.target)
        rests = {name: until for name, until in self._resting.items() if until > now}
        with self._context.db.read() as conn:
            next_at = outbox.next_at(conn, [name for name in self._targets if name not in rests])
        return min((at for at in (next_at, *rests.values()) if at is not None), default=None)

    def _send_one(self, one: Owed, target: Target) -> bool:
        """Send it, unless another process does; False where the receiver did not take it."""
        now = self._context.now()
        with self._context.db.write() as tx:  # counted before the call: a crash in between is known of later
            if not outbox.tried(tx, one, not_before=now + CLAIM_S):
                return True
        answer = self._send(target, one.id, one.body, now)
        tries, at = one.tries + 1, self._context.now()
        given_up = not answer.delivered and at - one.created_at >= GIVE_UP_S
        outcome = "delivered" if answer.delivered else "given-up" if given_up else "failed"
        self._context.instruments.notified(target.name, outcome)
        with self._context.db.write() as tx:
            if answer.delivered:
                outbox.ended(tx, one.id, delivered_at=at, detail=answer.detail)
            elif given_up:
                outbox.ended(tx, one.id, given_up_at=at, detail=answer.detail)
            else:
                outbox.ended(tx, one.id, not_before=at + _pause(answer, tries), detail=answer.detail)
        if answer.delivered:
            self._resting.pop(target.name, None)
            return True
        # The others to it wait too: a receiver that is down is asked with one message, not with all.
        self._resting[target.name] = at + min(_pause(answer, tries), CLAIM_S)
        log.warning("not told", target=target.name, host=target.host, why=answer.detail, tries=tries, outcome=outcome)
        return False


def _pause(answer: Answer, tries: int) -> float:
    return max(pause_s(tries), answer.retry_after_s or 0.0)
