"""The regulator of a service: who goes where, who waits, who is refused and why."""

from random import Random

from godwit.domain.wire.routes import Regulation, ReplicaRoute, ServiceRoute, VersionRoute
from godwit.gateway.regulator.queue import BATCH, INTERACTIVE, Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted, Regulator
from godwit.gateway.regulator.sheds import Refusal, Shed
from hypothesis import given
from hypothesis import strategies as st


def route(
    replicas: int = 1, *, draining: int = 0, versions: dict[str, float] | None = None, **law: float
) -> ServiceRoute:
    names = versions or {"1": 1.0}
    listed = [
        ReplicaRoute(
            id=f"r{n}",
            url="http://127.0.0.1:1",
            version=list(names)[n % len(names)],
            state="draining" if n < draining else "ready",
        )
        for n in range(replicas)
    ]
    return ServiceRoute(
        name="s",
        project="p",
        versions=[VersionRoute(name=name, weight=weight) for name, weight in names.items()],
        replicas=listed,
        regulation=Regulation.model_validate(law),
    )


def regulator(routes: ServiceRoute) -> Regulator:
    made = Regulator(routes.regulation, Random(1), 0.0)
    made.update(routes, 0.0)
    made.restart.limit = None
    return made


def fill(one: Regulator, now: float = 0.0) -> list[str]:
    taken = []
    while isinstance(verdict := one.offer(Waiting(now), now), Granted):
        taken.append(verdict.replica)
    return taken


def test_a_new_replica_is_given_its_first_concurrency_and_no_more() -> None:
    one = regulator(route(1, start_concurrency=3))
    assert len(fill(one)) == 3
    assert len(one.queue) == 1


def test_an_answer_lets_the_next_one_go() -> None:
    one = regulator(route(1, start_concurrency=1))
    fill(one)
    one.ended("r0", Outcome.ANSWERED, 0.1, 0.1)
    ((_waiting, verdict),) = list(one.turn(0.1))
    assert verdict == Granted("r0")


def test_a_replica_at_another_address_is_cold_and_earns_its_limit_anew() -> None:
    first = route(1, start_concurrency=2)
    one = regulator(first)
    for n in range(20):
        assert isinstance(one.offer(Waiting(n * 0.1), n * 0.1), Granted)
        one.ended("r0", Outcome.ANSWERED, 0.1, n * 0.1 + 0.1)
    one.update(first, 2.0)
    earned = one.replicas["r0"].limit
    assert earned > 2
    elsewhere = first.replicas[0].model_copy(update={"url": "http://127.0.0.1:2"})
    one.update(first.model_copy(update={"replicas": [elsewhere]}), 2.0)
    assert one.replicas["r0"].limit == 2
    one.ended("r0", Outcome.ANSWERED, 0.1, 3.0)
    assert one.replicas["r0"].in_flight == 0


def test_a_draining_replica_gets_nothing_new_and_ends_what_it_has() -> None:
    one = regulator(route(2, start_concurrency=2))
    fill(one)
    one.update(route(2, draining=1, start_concurrency=2), 0.1)
    one.ended("r0", Outcome.ANSWERED, 0.1, 0.1)
    assert list(one.turn(0.1)) == []
    assert one.replicas["r0"].in_flight == 1


def test_a_service_without_replicas_keeps_requests_for_as_long_as_it_says() -> None:
    one = regulator(route(0, queue_wait_s=5.0))
    assert one.offer(Waiting(0.0), 0.0) is None
    assert one.wakes_at(0.0) == 5.0
    assert list(one.turn(4.9)) == []
    ((_, refusal),) = list(one.turn(5.0))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.status) == (Shed.NO_REPLICA, 503)


def test_a_full_queue_refuses_batch_and_displaces_it_for_interactive() -> None:
    one = regulator(route(0, queue_max=1))
    batch = Waiting(0.0, BATCH)
    assert one.offer(batch, 0.0) is None
    refused = one.offer(Waiting(0.0, BATCH), 0.0)
    assert isinstance(refused, Refusal)
    assert refused.reason is Shed.QUEUE_FULL
    assert one.offer(Waiting(0.0, INTERACTIVE), 0.0) is None
    ((displaced, verdict),) = list(one.turn(0.0))
    assert displaced is batch
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Shed.DISPLACED


def test_a_request_that_cannot_make_it_is_refused_at_once_and_told_when_to_come_back() -> None:
    one = regulator(route(1, start_concurrency=1, concurrency_max=1, queue_wait_s=2.0))
    fill(one)
    one.ended("r0", Outcome.ANSWERED, 1.0, 1.0)
    list(one.turn(1.0))
    while one.offer(Waiting(1.0), 1.0) is None:
        assert len(one.queue) < 10
    refused = one.offer(Waiting(1.0), 1.0)
    assert isinstance(refused, Refusal)
    assert refused.reason is Shed.WOULD_WAIT_TOO_LONG
    assert refused.retry_after_s >= 1.0


def test_a_standing_queue_lets_nobody_wait_for_long() -> None:
    one = regulator(route(1, start_concurrency=1, concurrency_max=1, queue_wait_s=60.0))
    fill(one)
    one.ended("r0", Outcome.ANSWERED, 0.2, 0.2)
    list(one.turn(0.2))
    one.offer(Waiting(0.2), 0.2)
    one.offer(Waiting(5.0), 5.0)
    ((late, refusal),) = list(one.turn(5.0))
    assert late.arrived_at == 0.2
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Shed.WAITED_TOO_LONG


def test_a_replica_that_refuses_connections_is_asked_again_by_one_request_after_a_while() -> None:
    one = regulator(route(1, start_concurrency=3))
    fill(one)
    for _ in range(3):
        one.ended("r0", Outcome.UNREACHABLE, 0.0, 1.0)
    assert list(one.turn(1.0)) == []
    back_at = one.wakes_at(1.0)
    assert back_at is not None
    assert 1.0 < back_at < 2.0
    assert len(list(one.turn(back_at))) == 1
    assert fill(one, back_at) == []


def test_the_last_replica_is_not_left_out_for_bad_answers() -> None:
    one = regulator(route(1, start_concurrency=10))
    for _ in range(10):
        assert isinstance(one.offer(Waiting(0.0), 0.0), Granted)
        one.ended("r0", Outcome.FAILED, 0.1, 0.0)
    assert one.replicas["r0"].usable(0.0)


def test_one_of_two_replicas_is_left_out_for_bad_answers() -> None:
    one = regulator(route(2, start_concurrency=10))
    for n in range(5):
        one.replicas["r0"].in_flight += 1
        one.ended("r0", Outcome.FAILED, 0.1, float(n))
    assert not one.replicas["r0"].usable(4.0)
    assert set(fill(one, 4.0)) == {"r1"}


def test_a_service_that_comes_back_from_nothing_starts_as_one_replica_does() -> None:
    one = Regulator(Regulation(start_concurrency=4), Random(1), 0.0)
    one.update(route(10, start_concurrency=4), 0.0)
    assert len(fill(one)) == 4


def test_versions_get_their_weights_of_the_requests() -> None:
    one = regulator(route(2, versions={"old": 9.0, "new": 1.0}, start_concurrency=1_000))
    taken = [verdict.replica for _ in range(1_000) if isinstance(verdict := one.offer(Waiting(0.0), 0.0), Granted)]
    assert 50 < taken.count("r1") < 150


def test_requests_of_one_session_go_to_one_replica_while_it_has_room() -> None:
    one = regulator(route(5, start_concurrency=2))
    verdicts = [one.offer(Waiting(0.0, affinity="me"), 0.0) for _ in range(3)]
    replicas = [verdict.replica for verdict in verdicts if isinstance(verdict, Granted)]
    assert replicas[0] == replicas[1] != replicas[2]


def test_retries_end_with_their_budget() -> None:
    one = regulator(route(1, start_concurrency=1_000))
    verdicts = [one.again(Waiting(0.0), 0.0) for _ in range(100)]
    assert sum(isinstance(verdict, Granted) for verdict in verdicts) == 5


@given(st.lists(st.tuples(st.sampled_from(list(Outcome)), st.floats(0.001, 10.0), st.integers(0, 3)), max_size=80))
def test_no_replica_ever_has_more_than_its_limit_was_when_it_was_given(steps: list[tuple[Outcome, float, int]]) -> None:
    one, now = regulator(route(2, start_concurrency=3, queue_max=20, concurrency_max=8)), 0.0
    waiting, flying = set[Waiting](), list[str]()
    for outcome, latency_s, offers in steps:
        now += latency_s / 10.0
        for _ in range(offers):
            asked = Waiting(now)
            verdict = one.offer(asked, now)
            if isinstance(verdict, Granted):
                flying.append(verdict.replica)
                assert one.replicas[verdict.replica].in_flight <= one.replicas[verdict.replica].limit <= 8
            elif verdict is None:
                waiting.add(asked)
        if flying:
            one.ended(flying.pop(), outcome, latency_s, now)
        for asked, verdict in one.turn(now):
            waiting.remove(asked)
            if isinstance(verdict, Granted):
                flying.append(verdict.replica)
        assert one.in_flight == len(flying)
        assert len(one.queue) == len(waiting) <= 20
        wakes_at = one.wakes_at(now)
        assert (wakes_at is None) == (not waiting)
