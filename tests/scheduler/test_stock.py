"""What is left of a node that is on its way: of each device by itself, since a share lies on one device."""

from dataclasses import replace

import pytest
from godwit.domain.resources import GpuAsk
from godwit.scheduler import planner
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.market.stock import Spare, Spares
from godwit.scheduler.plan import BuyNode
from godwit.scheduler.reasons import Code, Refusal
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, job, offer, world

WAIT = Refusal(Code.NOT_READY, "node n1", "comes")


def spare(gpus: int = 2) -> Spare:
    return Spare.all_of(NodeKind("H100-SXM", gpus, 80.0, 64_000, 100_000, "p", "r"), WAIT)


def share(milli: int) -> Ask:
    return Ask(1, milli)


def test_what_is_left_of_two_devices_is_no_place_for_a_share_of_one() -> None:
    two = spare()
    assert [two.take(share(600)) for _ in range(3)] == [True, True, False]
    assert [two.take(share(400)) for _ in range(3)] == [True, True, False]


def test_a_whole_gpu_needs_one_that_nobody_has_a_part_of() -> None:
    two = spare()
    assert two.take(share(300))
    assert two.take(Ask(1))
    assert not two.take(Ask(1))
    assert two.take(share(700))


@given(st.lists(st.sampled_from([share(300), share(600), Ask(1), Ask(2), Ask(0, cpu_milli=8_000)]), max_size=20))
def test_no_device_is_given_away_twice(asks: list[Ask]) -> None:
    there = Spares([spare(), spare()])
    taken = [ask for ask in asks if there.take(ask) is not None]
    assert sum(ask.total_milli for ask in taken) <= 4_000
    assert sum(ask.gpu_milli > 500 for ask in taken for _ in range(ask.gpus)) <= 4


@pytest.mark.parametrize(("milli", "machines"), [(500, 2), (600, 3)])
def test_a_third_share_that_fits_beside_no_other_gets_a_machine_of_its_own(milli: int, machines: int) -> None:
    ask = GpuAsk(1, ("H100",), milli=milli)
    jobs = [job(f"j{i}") for i in range(3)]
    shares = [replace(one, spec=replace(one.spec, resources=replace(one.spec.resources, gpus=ask))) for one in jobs]
    plan = planner.plan(world(jobs=shares, offers=[offer("one", gpu_count=1)]), NOW, 1)
    assert sum(isinstance(action, BuyNode) for action in plan.actions) == machines
