"""Workers: a message only wakes one up; the row says whether there is anything to do, and who may do it."""

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane import settings
from godwit.control_plane.executors import dispatching
from godwit.control_plane.executors.brokers import BrokerAway
from godwit.control_plane.executors.claims import CALL_MARGIN_S, WORKER_CLAIM_S, Claims
from godwit.control_plane.executors.dispatching import SEND_AGAIN_BUSY_S, SEND_AGAIN_S, TASKS_MAX, Dispatcher
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.services import jobs
from godwit.control_plane.store import entities, queries
from godwit.domain.errors import InvalidRequest, UnknownOutcome
from godwit.domain.ids import IntentId, NodeId, ProviderName
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.nodes import NodeState
from godwit.domain.offers import Instance
from godwit.domain.wire.views import ExplainView
from godwit.providers.protocol import LaunchRequest, Provider
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.faulty import Fatal, Forgetful, Killed, MortalDatabase, MortalProvider
from tests.control_plane.world import World, spec

CHEAP = ProviderName("cheap")


class Queue:
    """A broker as a list; `is_away` makes it raise."""

    where = "redis://broker"

    def __init__(self) -> None:
        self.messages: list[IntentId] = []
        self.is_away = False

    def waiting(self) -> int:
        if self.is_away:
            raise BrokerAway("ConnectionError")
        return len(self.messages)

    def send(self, intent_id: IntentId) -> None:
        self.messages.append(intent_id)

    def taken(self) -> list[IntentId]:
        """What a worker takes now: all of it."""
        taken, self.messages = self.messages, []
        return taken


def worker(world: World, name: str = "w-1", **of_context: Any) -> tuple[Executor, Claims]:
    """A worker on the clock of the test."""
    claims = Claims(world.db, name, world.clock.now)
    return Executor(replace(world.context, **of_context), claims), claims


def owed(world: World) -> Intent:
    """The one launch that is owed."""
    with world.db.read() as conn:
        (intent,) = queries.pending_intents(conn, [IntentKind.LAUNCH_NODE])
    return intent


def told(world: World) -> str:
    """What people are told of executors."""
    with world.db.read() as conn:
        return dispatching.trouble(conn)


def explained(world: World) -> ExplainView:
    """What the owner of the job that `wanted` submits is told."""
    return jobs.explain(world.context, spec().name)


def wanted(world: World) -> Forgetful:
    """A launch is owed, at a cloud that sells another machine for each call."""
    cloud = Forgetful(world.providers[CHEAP])
    world.context = replace(world.context, providers={**world.context.providers, CHEAP: cloud})
    world.submit()
    world.plan_only()
    return cloud


def test_a_message_that_comes_twice_or_late_does_nothing(embedded: World) -> None:
    cloud = wanted(embedded)
    intent = owed(embedded)
    carried = [worker(embedded, f"w-{i}")[0].carry_out(intent.id) for i in range(3)]
    embedded.clock.advance(3_600)
    assert [*carried, worker(embedded)[0].carry_out(intent.id)] == [True, False, False, False]
    assert cloud.sold == 1


def test_what_another_worker_holds_or_is_not_due_is_left_alone(embedded: World) -> None:
    wanted(embedded)
    intent = owed(embedded)
    seen: list[tuple[bool, str]] = []

    class Watched(Forgetful):
        def launch(self, _request: LaunchRequest) -> Instance:
            other, _ = worker(embedded, "w-2")
            seen.append((other.carry_out(intent.id), owed(embedded).holder))
            raise UnknownOutcome("no answer came")

    executor, _ = worker(embedded, providers={CHEAP: Watched(embedded.providers[CHEAP])})
    executor.carry_out(intent.id)
    assert seen == [(False, "w-1")]
    assert owed(embedded).holder == "", "it was put off, and is nobody's"
    assert not worker(embedded, "w-3")[0].carry_out(intent.id), "it is not due yet"


def test_a_claim_is_held_for_as_long_as_it_is_renewed(embedded: World) -> None:
    cloud = wanted(embedded)
    intent = owed(embedded)

    class Long(Forgetful):
        def launch(self, request: LaunchRequest) -> Instance:
            for _ in range(10):
                embedded.clock.advance(WORKER_CLAIM_S - 1)
                claims.renew(embedded.clock.now())
                assert not worker(embedded, "w-2")[0].carry_out(intent.id)
            return super().launch(request)

    executor, claims = worker(embedded, providers={CHEAP: Long(cloud)})
    assert executor.carry_out(intent.id)
    assert (cloud.sold, embedded.nodes()[0].state) == (1, NodeState.PROVISIONING)


def test_who_was_asleep_until_the_claim_ran_out_calls_no_provider_any_more(embedded: World) -> None:
    cloud = wanted(embedded)
    intent = owed(embedded)
    with embedded.db.write() as tx:
        entities.save(tx, replace(intent, tries=1))  # tried before, so that it is looked for first

    class Sleepy(Forgetful):
        """Its caller sleeps while it lists, before the launch."""

        def instances(self) -> Sequence[Instance]:
            embedded.clock.advance(WORKER_CLAIM_S - CALL_MARGIN_S + 1)
            return super().instances()

    assert not worker(embedded, providers={CHEAP: Sleepy(cloud)})[0].carry_out(intent.id)
    assert cloud.sold == 0
    embedded.clock.advance(CALL_MARGIN_S)
    assert worker(embedded, "w-2")[0].carry_out(intent.id)
    assert cloud.sold == 1


def test_who_leads_takes_back_what_its_predecessor_held_and_no_worker(embedded: World) -> None:
    wanted(embedded)
    intent = owed(embedded)

    class Dies(Forgetful):
        def launch(self, _request: LaunchRequest) -> Instance:
            raise Killed

    with pytest.raises(Killed):
        worker(embedded, providers={CHEAP: Dies(embedded.providers[CHEAP])})[0].carry_out(intent.id)
    Executor(embedded.context).resume()
    assert Executor(embedded.context).due() == []
    embedded.clock.advance(WORKER_CLAIM_S)
    assert Executor(embedded.context).due() == [intent.id]


@pytest.mark.parametrize("at", range(1, 11))
def test_workers_that_die_at_any_point_leave_one_machine_per_node(embedded: World, at: int) -> None:
    """One dies at the `at`-th touch of the world; messages come doubled, in any order, and get lost."""
    rng, queue = random.Random(at), Queue()
    embedded.submit(nodes=2)
    embedded.plan_only()
    embedded.context = replace(embedded.context, courier=queue)
    dispatcher = Dispatcher(embedded.context, queue)
    plain, fatal = embedded.context, Fatal(at)
    mortal: dict[ProviderName, Provider] = {n: MortalProvider(p, fatal) for n, p in plain.providers.items()}
    dying = replace(plain, db=MortalDatabase(plain.db, fatal), providers=mortal)
    for turn in range(40):
        dispatcher.step()
        taken = [one for one in queue.taken() for _ in range(rng.choice([0, 1, 2]))]
        rng.shuffle(taken)
        for intent_id in taken:
            try:
                Executor(dying, Claims(dying.db, f"w-{turn}", embedded.clock.now)).carry_out(intent_id)
            except Killed:
                dying = plain
        embedded.watch()
        embedded.clock.advance(1)
    nodes = embedded.nodes()
    assert sorted(str(n.instance_id) for n in nodes) == sorted(embedded.machines())
    assert len(embedded.machines()) == 2


def test_an_emptied_broker_is_told_again_and_what_was_put_off_when_it_is_due(embedded: World) -> None:
    cloud, queue = wanted(embedded), Queue()
    dispatcher = Dispatcher(embedded.context, queue)
    intent = owed(embedded)
    dispatcher.step()
    dispatcher.step()
    assert queue.taken() == [intent.id]
    dispatcher.step()
    assert queue.taken() == [], "a worker may be about to claim it"
    embedded.clock.advance(SEND_AGAIN_S)
    dispatcher.step()
    assert queue.taken() == [intent.id]
    cloud.lose_answers = 1
    worker(embedded)[0].carry_out(intent.id)
    due_at = dispatcher.step()
    assert (queue.taken(), due_at) == ([], owed(embedded).not_before)
    embedded.clock.advance(owed(embedded).not_before - embedded.clock.now())
    dispatcher.step()
    assert queue.taken() == [intent.id]


def test_a_broker_that_is_away_loses_nothing_and_is_told_of(embedded: World) -> None:
    wanted(embedded)
    queue, stopping = Queue(), threading.Event()
    queue.is_away = True
    dispatcher = Dispatcher(embedded.context, queue)
    asked = queue.waiting

    def last() -> int:
        stopping.set()
        return asked()

    queue.waiting = last  # type: ignore[method-assign]
    dispatcher.run(stopping)
    assert "redis://broker does not answer" in told(embedded)
    queue.is_away = False
    dispatcher.step()
    assert queue.taken() == [owed(embedded).id]
    assert told(embedded) == ""


def test_that_no_worker_takes_what_is_due_is_told_of(embedded: World) -> None:
    wanted(embedded)
    dispatcher = Dispatcher(embedded.context, Queue())
    dispatcher.step()
    assert told(embedded) == ""
    embedded.clock.advance(dispatching.UNCLAIMED_S + 1)
    dispatcher.step()
    assert "no worker takes what is due" in told(embedded)


def test_who_asks_why_a_job_waits_learns_that_no_worker_launches_what_it_waits_for(embedded: World) -> None:
    wanted(embedded)
    dispatcher = Dispatcher(embedded.context, Queue())
    dispatcher.step()
    before = explained(embedded)
    assert before.outlook is not None
    assert "not-launching" not in [one.code for one in before.refusals]
    embedded.clock.advance(dispatching.UNCLAIMED_S + 1)
    dispatcher.step()
    after = explained(embedded)
    first = after.refusals[0]
    assert first.code == "not-launching"
    assert "no worker takes what is due; start some" in first.message
    assert first.message in after.headline
    assert after.outlook is None, "nobody knows when it starts"
    embedded.submit("later", after=["digits"])
    waits_for_others = jobs.explain(embedded.context, "later")
    assert "waits for other jobs" in waits_for_others.headline
    assert "not-launching" not in [one.code for one in waits_for_others.refusals]


def an_intent(number: int, version: int = 1) -> Intent:
    return Intent(
        IntentId(f"i-{number}"), IntentKind.LAUNCH_NODE, IntentState.PENDING, NodeId(f"n-{number}"), 0.0, 0.0, "wanted",
        version=version,
    )  # fmt: skip


@given(
    count=st.integers(0, 30),
    sent=st.dictionaries(st.tuples(st.integers(0, 40), st.integers(1, 2)), st.floats(0, 100)),
    waiting=st.integers(0, 2 * TASKS_MAX),
    now=st.floats(100, 200),
)
def test_each_is_sent_at_once_and_again_only_after_a_pause(
    count: int, sent: dict[tuple[int, int], float], waiting: int, now: float
) -> None:
    due = [an_intent(number) for number in range(count)]
    before = {(IntentId(f"i-{number}"), version): at for (number, version), at in sent.items()}
    found = dispatching.to_send(due, before, waiting, now)
    pause_s = SEND_AGAIN_BUSY_S if waiting else SEND_AGAIN_S
    ready = [one for one in due if (at := before.get((one.id, one.version))) is None or now - at >= pause_s]
    assert found == ready[: max(0, TASKS_MAX - waiting)]


def test_the_queue_is_bounded_however_much_is_due() -> None:
    due = [an_intent(number) for number in range(2 * dispatching.BATCH_MAX)]
    assert len(dispatching.to_send(due, {}, 0, 1.0)) == dispatching.BATCH_MAX
    assert dispatching.to_send(due, {}, TASKS_MAX, 1.0) == []


@pytest.mark.parametrize(
    "section",
    [
        "redis://x", "[]", "{}", "{broker: 3}", "{broker: 'http://:hush@x/0'}", "{broker: 'redis://'}", "{workers: 3}",
        "{broker_env: NOT_SET}", "{broker: 'redis://:hush@x', broker_env: A}", "{broker: 'redis://:hush @x'}",
    ],
)  # fmt: skip
def test_a_broker_that_cannot_be_one_is_refused_without_its_password(tmp_path: Path, section: str) -> None:
    (tmp_path / "config.yaml").write_text(f"executors: {section}")
    with pytest.raises(InvalidRequest, match="executors") as refused:
        settings.read(tmp_path)
    assert "hush" not in refused.value.message


def test_the_settings_take_a_broker_and_tell_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str) -> settings.Settings:
        (tmp_path / "config.yaml").write_text(text)
        return settings.read(tmp_path)

    assert read("").broker is None
    broker = read("executors: {broker: 'redis://:hush@10.0.0.1:6379/0'}").broker
    assert broker is not None
    assert (broker.shown, "hush" in repr(broker)) == ("redis://10.0.0.1:6379", False)
    monkeypatch.setenv("BROKER", "amqp://u:hush@mq//")
    assert read("executors: {broker_env: BROKER}").broker is not None
    monkeypatch.setenv("GODWIT_BROKER_URL", "rediss://cache/1")
    assert str(read("executors: {broker_env: BROKER}").broker.shown) == "rediss://cache"  # type: ignore[union-attr]
