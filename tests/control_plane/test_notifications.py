"""Receivers outside are told of what concerns them, once each, however often anything dies in between."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from godwit.control_plane.notifying import messages, outgoing
from godwit.control_plane.notifying.outgoing import Notifying
from godwit.control_plane.notifying.sending import Answer
from godwit.control_plane.notifying.targets import Kind, Target, Topic
from godwit.control_plane.services import notifications
from godwit.control_plane.store import entities, outbox
from godwit.domain import tracing
from godwit.domain.errors import NotFound
from godwit.domain.events import Event
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.world import World

OPS = Target("ops", Kind.WEBHOOK, "https://ops.example/in?key=1", "s" * 16, frozenset({Topic.INCIDENTS, Topic.BUDGETS}))
CI = Target("ci", Kind.SLACK, "https://ci.example/hook", "", frozenset({Topic.JOB_ENDS}))


class Receivers:
    """What arrives, and who is down."""

    def __init__(self) -> None:
        self.took: list[tuple[str, str, dict[str, object]]] = []
        self.asked = 0
        self.down: set[str] = set()

    def send(self, target: Target, delivery: str, told: str, _now: float) -> Answer:
        self.asked += 1
        if target.name in self.down:
            return Answer(delivered=False, detail="HTTP 503")
        self.took.append((target.name, delivery, json.loads(told)))
        return Answer(delivered=True, detail="HTTP 200")

    def told(self, target: str) -> list[object]:
        return [body["state"] or body["kind"] for name, _, body in self.took if name == target]


class Telling:
    """A world in which receivers are told."""

    def __init__(self, world: World, targets: Sequence[Target] = (OPS, CI)) -> None:
        self.world, self.receivers = world, Receivers()
        self.context = replace(world.context, targets=tuple(targets))
        self.start()
        self.step()

    def start(self) -> None:
        """As after a crash: all that is known lies in the database."""
        self.notifying = Notifying(self.context, self.receivers.send)

    def step(self) -> float | None:
        return self.notifying.step()

    def happens(self, kind: str, new: str | None = None, **more: Any) -> None:
        subject = kind.partition(".")[0]
        event = Event(self.context.now(), kind, subject, f"{subject}-1", "because", "test", new=new, **more)
        with self.world.db.write() as tx:
            entities.append(tx, event)


@pytest.fixture
def telling(embedded: World) -> Telling:
    return Telling(embedded)


@pytest.fixture
def telling_on_both(world: World) -> Telling:
    """On either kind of database, for what these have a part in."""
    return Telling(world)


def test_each_target_is_told_of_its_topics_and_of_nothing_else(telling_on_both: Telling) -> None:
    telling = telling_on_both
    job_id, _ = telling.world.run("digits")
    telling.happens("incident.state", "open", node_id="node-1")
    telling.happens("incident.state", "testing")
    telling.happens("breaker.tripped")
    telling.happens("budget.alert")
    telling.happens("budget.set")
    telling.happens("job.state", "succeeded", job_id=job_id)
    telling.step()
    assert telling.receivers.told("ops") == ["open", "breaker.tripped", "budget.alert"]
    assert telling.receivers.told("ci") == ["succeeded"]
    body = telling.receivers.took[-1][2]
    assert (body["job_name"], body["project"], body["trace_id"]) == ("digits", "default", tracing.of_job(job_id))


def test_what_happened_before_anybody_was_to_be_told_is_told_to_nobody(embedded: World) -> None:
    world = embedded
    with world.db.write() as tx:
        entities.append(tx, Event(world.clock.now(), "breaker.tripped", "breaker", "fleet", "early", "test"))
    telling = Telling(world)
    telling.step()
    assert telling.receivers.took == []


def test_told_once_however_often_it_is_looked_at_and_started_again(telling: Telling) -> None:
    telling.happens("breaker.tripped")
    for _ in range(3):
        telling.step()
        telling.start()
    assert telling.receivers.told("ops") == ["breaker.tripped"]


def test_a_receiver_that_is_down_loses_nothing_and_delays_nobody(telling: Telling) -> None:
    telling.receivers.down = {"ops"}
    for _ in range(20):
        telling.happens("breaker.tripped")
    telling.happens("job.state", "failed")
    telling.step()
    assert telling.receivers.told("ci") == ["failed"]
    assert telling.receivers.asked == 2, "a receiver that is down is asked with one message, not with all"
    telling.receivers.down = set()
    for _ in range(30):
        telling.world.clock.advance(120.0)
        telling.step()
    assert len(telling.receivers.told("ops")) == 20
    assert len({delivery for _, delivery, _ in telling.receivers.took}) == 21


def test_a_crash_between_sending_and_writing_it_down_repeats_the_same_delivery(telling: Telling) -> None:
    telling.happens("breaker.tripped")

    class Killed(Exception):
        pass

    def send_and_die(target: Target, delivery: str, told: str, now: float) -> Answer:
        telling.receivers.send(target, delivery, told, now)
        raise Killed

    telling.notifying = Notifying(telling.context, send_and_die)
    with pytest.raises(Killed):
        telling.step()
    telling.start()
    telling.step()
    assert len(telling.receivers.took) == 1, "nobody sends what may still be under way"
    telling.world.clock.advance(outgoing.CLAIM_S + 1)
    telling.step()
    (_, first, _), (_, second, _) = telling.receivers.took
    assert first == second, "the receiver can see that it has it already"


def test_what_was_not_taken_for_a_day_is_kept_and_sent_when_somebody_says_so(telling_on_both: Telling) -> None:
    telling = telling_on_both
    telling.receivers.down = {"ops"}
    telling.happens("breaker.tripped")
    tries = 0
    while notifications.overview(telling.context)[0].given_up == 0:
        wake_at = telling.step()
        if wake_at is not None:
            telling.world.clock.advance(max(1.0, wake_at - telling.context.now()))
        tries += 1
        assert tries < 200
    assert telling.receivers.asked < 50, "retries are bounded"
    sample = telling.context.instruments.registry.get_sample_value
    assert sample("godwit_notifications_total", {"target": "ops", "outcome": "given-up"}) == 1
    telling.receivers.down = set()
    telling.step()
    assert telling.receivers.took == []
    assert notifications.resend(telling.context, "ops").count == 1
    telling.world.clock.advance(3_600.0)
    telling.step()
    assert telling.receivers.told("ops") == ["breaker.tripped"]


def test_the_overview_tells_what_is_owed_and_no_secret(telling: Telling) -> None:
    telling.receivers.down = {"ops"}
    telling.happens("breaker.tripped")
    telling.step()
    ops, _ci = notifications.overview(telling.context)
    assert (ops.host, ops.pending, ops.given_up, ops.detail, ops.signed) == ("ops.example", 1, 0, "HTTP 503", True)
    assert "key" not in repr(ops)
    assert "ssss" not in repr(OPS)
    assert "key=1" not in repr(OPS)


def test_two_processes_that_look_at_the_same_event_owe_it_once(telling_on_both: Telling) -> None:
    telling = telling_on_both
    telling.happens("breaker.tripped")
    other = Notifying(telling.context, telling.receivers.send)
    telling.notifying._owe()
    other._owe()
    assert telling.world.rows(outbox.outbox) == 1
    other.step()
    telling.step()
    assert telling.receivers.told("ops") == ["breaker.tripped"]


def test_many_events_of_no_interest_move_the_cursor_now_and_then(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "CURSOR_EVERY", 5)
    monkeypatch.setattr(outgoing, "EVENTS_MAX", 2)
    for _ in range(7):
        telling.happens("node.known")
    telling.step()
    with telling.world.db.read() as conn:
        assert outbox.cursor(conn) == 7
    for _ in range(5):
        telling.happens("breaker.tripped")
    telling.step()
    assert len(telling.receivers.told("ops")) == 5


def test_a_trial_goes_past_the_outbox_and_says_how_it_ended(telling: Telling) -> None:
    assert notifications.try_one(telling.context, telling.receivers.send, "ci").delivered
    telling.receivers.down = {"ci"}
    assert notifications.try_one(telling.context, telling.receivers.send, "ci").detail == "HTTP 503"
    assert telling.world.rows(outbox.outbox) == 0
    with pytest.raises(NotFound, match="known: ops, ci"):
        notifications.try_one(telling.context, telling.receivers.send, "nobody")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("token gw_abcdefghijklmnopqrstuvwxyz was used", "token [redacted] was used"),
        ("postgresql://me:secret@db/x failed", "postgresql://[redacted]@db/x failed"),
        ("sent Bearer abc.def", "sent Bearer [redacted]"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [redacted]"),
        ("exit code 1 after 3 tries", "exit code 1 after 3 tries"),
    ],
)
def test_what_looks_like_a_secret_is_not_told(text: str, kept: str) -> None:
    assert messages.redacted(text) == kept


@given(st.text(max_size=200), st.text(max_size=50))
def test_slack_gets_one_text_in_which_nobody_is_mentioned(reason: str, name: str) -> None:
    event = Event(1.0, "job.state", "job", "job-1", reason, "x", new="failed", job_id="job-1")
    body = messages.body("n", Topic.JOB_ENDS, event, messages.About(name, "p"), "godwit-1", "t")
    sent = json.loads(messages.written_for(Kind.SLACK, body))
    assert set(sent) == {"text"}
    assert "<" not in sent["text"]
    assert json.loads(messages.written_for(Kind.WEBHOOK, body)) == json.loads(body)


@pytest.mark.parametrize("tries", [1, 2, 30, 10_000])
def test_pauses_grow_to_an_hour_and_no_further(tries: int) -> None:
    pause: Callable[[int], float] = outgoing.pause_s
    assert outgoing.FIRST_PAUSE_S <= pause(tries) <= outgoing.PAUSE_MAX_S
    assert pause(tries) <= pause(tries + 1)
