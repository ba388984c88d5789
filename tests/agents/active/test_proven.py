"""A gang does not wait for a preflight of GPUs that have shown lately that they are fit."""

import pytest
from godwit.agents.checks.active import child
from godwit.agents.checks.active.child import Ended, Order
from godwit.agents.checks.active.proven import PASSED_S, WORKED_S, Proven
from godwit.agents.checks.active.running import ActiveChecks
from godwit.agents.effects import Found
from godwit.domain.health import Grade
from godwit.domain.wire.agents import GpuFact


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


def found(gpu: str | None, grade: Grade = Grade.DEGRADED) -> Found:
    return Found("thermal", grade, "it is hot", "thermal:hot", gpu=gpu)


def test_nothing_is_proven_of_what_was_never_tried_nor_of_no_gpus(clock: Clock) -> None:
    proven = Proven(clock)
    assert not proven.covers(["GPU-0"])
    assert not proven.covers([])


def test_passed_checks_count_for_a_day_and_work_for_a_while(clock: Clock) -> None:
    proven = Proven(clock)
    proven.passed(["GPU-0"], since=900.0)
    proven.worked(["GPU-0", "GPU-1"], since=900.0)
    assert proven.covers(["GPU-0", "GPU-1"])
    assert not proven.covers(["GPU-0", "GPU-2"]), "one that is unknown is enough to wait for"
    clock.now += WORKED_S
    assert not proven.covers(["GPU-1"])
    assert proven.covers(["GPU-0"]), "what it showed before is not forgotten for less"
    clock.now += PASSED_S
    assert not proven.covers(["GPU-0"])


@pytest.mark.parametrize("gpu", ["GPU-0", None])
def test_a_finding_takes_it_away_until_it_is_shown_again(clock: Clock, gpu: str | None) -> None:
    proven = Proven(clock)
    proven.passed(["GPU-0", "GPU-1"], since=900.0)
    proven.hear(found("GPU-1", Grade.HEALTHY))
    assert proven.covers(["GPU-0", "GPU-1"])
    proven.hear(found(gpu))
    assert not proven.covers(["GPU-0"])
    assert proven.covers(["GPU-1"]) is (gpu is not None), "without a GPU it is the node's"
    clock.now += 10
    proven.worked(["GPU-0"], since=clock.now - 60)
    assert not proven.covers(["GPU-0"]), "it was found while the program worked"
    proven.passed(["GPU-0"], since=clock.now - 5)
    assert proven.covers(["GPU-0"])


def test_a_preflight_of_proven_gpus_takes_no_time_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [GpuFact(index=0, uuid="GPU-0", model="H100-SXM", memory_gib=80.0)]
    tried = list[Order]()

    def converse(order: Order, _going_on: object) -> Ended:
        tried.append(order)
        return child.converse(order, lambda: True)

    checks = ActiveChecks(lambda: facts, lambda _event: None, dict, converse)
    assert checks.preflight([0], lambda: True).passed
    assert len(tried) == 1
    assert checks.preflight([0], lambda: True).passed
    assert len(tried) == 1
    assert checks.preflight([0], lambda: True, anew=True).passed
    assert len(tried) == 2
