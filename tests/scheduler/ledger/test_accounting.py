"""Every paid second of every GPU has one reason and one owner, whatever happened."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest
from godwit.domain.ids import JobId, NodeId, ProviderName
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import NodeState
from godwit.scheduler.ledger.accounting import Entry, account, by_use
from godwit.scheduler.ledger.bills import Bill
from godwit.scheduler.ledger.stories import MACHINE, Claim, Story, Timeline, phases, timeline
from godwit.scheduler.ledger.uses import How, Use
from hypothesis import given
from hypothesis import strategies as st

BILL = Bill("i-1", ProviderName("cheap"), NodeId("n1"), 8, 36.0, spot=False, began_at=0.0, ended_at=1_000.0)
READY = Timeline((NodeState.READY,))
RUNS = phases(Timeline((AttemptState.RUNNING,)))


def claim(job_id: str, gpus: Sequence[int], since: float = 0.0, until: float = inf, milli: int = 1000) -> Claim:
    """A program that runs on these GPUs."""
    return Claim(JobId(job_id), tuple(gpus), milli, RUNS, since, until)


def uses(bill: Bill, story: Story | None, since: float = 0.0, until: float = 2_000.0) -> dict[Use, float]:
    """GPU-seconds by reason."""
    return by_use(account(bill, story, since, until))


def test_what_nobody_holds_is_idle_beside_what_somebody_does() -> None:
    entries = account(BILL, Story(READY, claims=(claim("j1", range(6), 100.0, 600.0),)), 0.0, 2_000.0)
    found = {(e.use, e.how, e.job_id): e.gpu_s for e in entries}
    assert found == {
        (Use.BUSY, How.PLAIN, "j1"): 6 * 500.0,
        (Use.IDLE, How.BESIDE, ""): 2 * 500.0,
        (Use.IDLE, How.PLAIN, ""): 8 * 500.0,
    }
    assert sum(e.usd for e in entries) == pytest.approx(36.0 * 1_000 / 3_600)


def test_parts_of_a_gpu_are_counted_as_parts() -> None:
    story = Story(READY, claims=(claim("a", [0], milli=250), claim("b", [0], milli=250)))
    one = replace(BILL, gpu_count=1)
    assert uses(one, story) == {Use.BUSY: 500.0, Use.IDLE: 500.0}


def test_a_gpu_that_an_attempt_lets_go_of_late_belongs_to_its_successor() -> None:
    story = Story(READY, claims=(claim("old", range(8)), claim("new", range(8), since=400.0)))
    by_job = {e.job_id: e.gpu_s for e in account(BILL, story, 0.0, 1_000.0)}
    assert by_job == {"old": 8 * 400.0, "new": 8 * 600.0}


def test_a_machine_that_boots_drains_or_is_lost_says_so() -> None:
    states = timeline(
        NodeState.REQUESTED,
        [
            (10.0, NodeState.PROVISIONING), (30.0, NodeState.JOINING), (100.0, NodeState.READY),
            (700.0, NodeState.LOST), (800.0, NodeState.TERMINATING), (900.0, NodeState.TERMINATED),
        ],
    )  # fmt: skip
    kept = timeline("j1", [(200.0, "")])
    story = Story(states, kept, claims=(claim("j1", range(8), 200.0),))
    found = uses(BILL, story)
    assert found == {
        Use.STARTING: 800.0,
        Use.WAITING: 800.0,
        Use.BUSY: 4_000.0,
        Use.BROKEN: 800.0,
        Use.DRAINING: 1_600.0,
    }


def test_seconds_after_a_machines_end_are_paid_up_to_the_end_of_the_unit() -> None:
    hourly = replace(BILL, step_s=3_600.0)
    entries = account(hourly, Story(READY, claims=(claim("j1", range(8)),)), 0.0, 10_000.0)
    assert {(e.use, e.how): e.gpu_s for e in entries} == {
        (Use.BUSY, How.PLAIN): 8_000.0,
        (Use.DRAINING, How.OVER): 8 * 2_600.0,
    }
    assert sum(e.usd for e in entries) == pytest.approx(36.0)


@pytest.mark.parametrize(
    ("lasted_s", "step_s", "least_s", "paid_s"),
    [(0.0, 1.0, 0.0, 0.0), (0.2, 1.0, 0.0, 1.0), (59.0, 1.0, 60.0, 60.0), (61.0, 60.0, 0.0, 120.0),
     (3_600.0, 3_600.0, 0.0, 3_600.0), (100.0, 0.0, 0.0, 100.0)],
)  # fmt: skip
def test_time_is_billed_in_begun_units(lasted_s: float, step_s: float, least_s: float, paid_s: float) -> None:
    began = 1_763_000_000.0
    bill = replace(BILL, began_at=began, ended_at=began + lasted_s, step_s=step_s, least_s=least_s)
    assert bill.paid_until - began == pytest.approx(paid_s, abs=1e-5)


def test_what_health_took_out_is_broken_and_what_a_person_keeps_is_held() -> None:
    unfit = timeline(frozenset[int](), [(500.0, frozenset({3}))])
    assert uses(BILL, Story(READY, unfit=unfit)) == {Use.BROKEN: 500.0, Use.IDLE: 7_500.0}
    cordoned = Timeline((NodeState.CORDONED,))
    assert uses(BILL, Story(cordoned)) == {Use.HELD: 8_000.0}
    assert uses(BILL, Story(cordoned, unfit=Timeline((frozenset({MACHINE}),)))) == {Use.BROKEN: 8_000.0}


def test_between_a_loss_and_being_at_work_again_a_job_recovers() -> None:
    starts = phases(timeline(AttemptState.STARTING, [(300.0, AttemptState.RUNNING)]))
    successor = Claim(JobId("j1"), tuple(range(8)), 1000, starts, 200.0)
    kept = timeline("j1", [(200.0, "")])
    story = Story(READY, kept, claims=(successor,), recovering={"j1": [(-inf, 300.0)]})
    assert uses(BILL, story) == {Use.BUSY: 5_600.0, Use.RECOVERING: 2_400.0}


def test_saving_and_a_desk_that_nobody_uses_are_told_apart_from_work() -> None:
    running = Timeline((AttemptState.RUNNING,))
    done = phases(running, saves=[(100.0, 110.0)], unused=[(500.0, 900.0)])
    story = Story(READY, claims=(Claim(JobId("j1"), tuple(range(8)), 1000, done, 0.0),))
    assert uses(BILL, story) == {Use.BUSY: 8 * 590.0, Use.CHECKPOINTING: 80.0, Use.HELD: 3_200.0}


def test_a_machine_without_gpus_costs_dollars_that_its_jobs_share() -> None:
    bare = replace(BILL, gpu_count=0)
    story = Story(READY, claims=(claim("a", []), claim("b", [], until=500.0), claim("c", [], until=500.0)))
    entries = account(bare, story, 0.0, 1_000.0)
    assert sum(e.gpu_s for e in entries) == 0.0
    assert {e.job_id: round(e.usd, 2) for e in entries} == {"a": 6.67, "b": 1.67, "c": 1.67}


def test_a_machine_that_no_node_has_is_broken_and_nobodys() -> None:
    assert uses(BILL, None) == {Use.BROKEN: 8_000.0}


INSTANTS = st.integers(-100, 1_500).map(float)
STATES = st.sampled_from(list(NodeState))


@st.composite
def some_claims(draw: st.DrawFn) -> Claim:
    """An attempt's part, at its worst: GPUs that others hold, that are not there, ends before beginnings."""
    changes = draw(st.lists(st.tuples(INSTANTS, st.sampled_from(list(AttemptState))), max_size=4))
    spans = st.lists(st.tuples(INSTANTS, INSTANTS), max_size=2)
    line = phases(timeline(AttemptState.STARTING, changes), draw(spans), draw(spans))
    gpus = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    return Claim(
        JobId(draw(st.sampled_from("abc"))), gpus, draw(st.sampled_from([250, 333, 1000])), line, draw(INSTANTS),
        draw(INSTANTS | st.just(inf)),
    )  # fmt: skip


@st.composite
def machines(draw: st.DrawFn) -> tuple[Bill, Story | None]:
    """A machine and whatever happened on it."""
    bill = replace(
        BILL, gpu_count=draw(st.integers(0, 8)), began_at=float(draw(st.integers(0, 500))),
        ended_at=draw(st.none() | st.integers(500, 1_200).map(float)),
        step_s=draw(st.sampled_from([1.0, 60.0, 3_600.0])),
    )  # fmt: skip
    if draw(st.integers(0, 9)) == 0:
        return bill, None
    jobs, bad = st.sampled_from(["", "a", "b"]), st.frozensets(st.integers(MACHINE, 7), max_size=3)
    story = Story(
        timeline(draw(STATES), draw(st.lists(st.tuples(INSTANTS, STATES), max_size=5))),
        timeline(draw(jobs), draw(st.lists(st.tuples(INSTANTS, jobs), max_size=3))),
        timeline(draw(bad), draw(st.lists(st.tuples(INSTANTS, bad), max_size=2))),
        tuple(draw(st.lists(some_claims(), max_size=5))),
        {"a": draw(st.lists(st.tuples(INSTANTS, INSTANTS), max_size=2))},
    )  # fmt: skip
    return bill, story


@given(machines(), INSTANTS, INSTANTS)
def test_the_reasons_add_up_to_gpus_times_paid_seconds(
    machine: tuple[Bill, Story | None], one: float, other: float
) -> None:
    bill, story = machine
    since, until = sorted((one, other))
    entries = account(bill, story, since, until)
    paid_s = max(0.0, min(until, bill.paid_until) - max(since, bill.began_at))
    assert sum(e.gpu_s for e in entries) == pytest.approx(bill.gpu_count * paid_s)
    assert sum(e.usd for e in entries) == pytest.approx(bill.usd(since, until))
    assert all(e.gpu_s >= 0 and e.usd >= 0 for e in entries)


def _keyed(entries: Sequence[Entry]) -> dict[tuple[Use, How, str], float]:
    return {(e.use, e.how, e.job_id): e.usd for e in entries}


@given(machines(), st.tuples(INSTANTS, INSTANTS, INSTANTS))
def test_windows_that_meet_add_up(machine: tuple[Bill, Story | None], edges: tuple[float, float, float]) -> None:
    bill, story = machine
    a, b, c = sorted(edges)
    whole, first, second = (_keyed(account(bill, story, *w)) for w in ((a, c), (a, b), (b, c)))
    together = {part: first.get(part, 0.0) + second.get(part, 0.0) for part in first.keys() | second.keys()}
    assert together == pytest.approx(whole)


@given(machines(), INSTANTS)
def test_nobody_gets_more_than_it_claims(machine: tuple[Bill, Story | None], at: float) -> None:
    bill, story = machine
    claims = () if story is None else story.claims
    for job_id in "abc":
        got = sum(e.gpu_s for e in account(bill, story, at, at + 1.0) if e.job_id == job_id)
        kept = 8.0 if story is not None and job_id in story.kept_for.values else 0.0
        assert got <= kept + sum(len(c.gpus) for c in claims if c.job_id == job_id) + 1e-9
