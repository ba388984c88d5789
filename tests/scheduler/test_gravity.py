"""Data draws work to it: free nodes next to it come first, and purchases elsewhere pay for moving it."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import Data, Job
from godwit.domain.resources import Infra
from godwit.scheduler import gravity, planner
from godwit.scheduler.market import expected
from godwit.scheduler.market.expected import Work
from godwit.scheduler.plan import BuyNode, StartAttempt
from godwit.scheduler.trust import UNKNOWN

from tests.scheduler.fleets import NOW, job, node, offer, world

AT_HOME = offer("home", gpu_count=8, price=20.0, provider="aws", region="us-east-1")
OTHER_REGION = offer("region", gpu_count=8, price=20.0, provider="aws", region="us-west-2")
ELSEWHERE = offer("away", gpu_count=8, price=18.0, provider="crusoe", region="iceland")
TERABYTE = (Data(Infra("aws", "us-east-1"), 1_000.0),)


def reading(name: str, data: tuple[Data, ...], nodes: int = 1) -> Job:
    one = job(name, gpus=8, nodes=nodes)
    return replace(one, spec=replace(one.spec, resources=replace(one.spec.resources, data=data)))


def test_moving_a_terabyte_costs_its_providers_list_price_and_the_time_on_the_wire() -> None:
    assert gravity.egress_usd(TERABYTE, "aws", "us-east-1") == 0
    assert gravity.egress_usd(TERABYTE, "aws", "us-west-2") == pytest.approx(20.0)
    assert gravity.egress_usd(TERABYTE, "crusoe", "iceland") == pytest.approx(90.0)
    assert gravity.transfer_h(TERABYTE, "aws", "us-east-1") == 0
    assert gravity.transfer_h(TERABYTE, "crusoe", "iceland") == pytest.approx(1000 / 0.625 / 3600)


def test_what_its_owner_says_of_the_price_counts_and_a_gpu_cloud_takes_nothing() -> None:
    assert gravity.egress_usd([Data(Infra("aws"), 10.0, 0.05)], "crusoe", "iceland") == pytest.approx(0.5)
    assert gravity.egress_usd([Data(Infra("runpod"), 10.0)], "crusoe", "iceland") == 0
    assert gravity.is_home([Data(Infra("aws"), 10.0)], "aws", "us-west-2")


def test_a_purchase_elsewhere_pays_for_the_data_and_says_so() -> None:
    work = Work(run_s=4 * 3600.0, data=TERABYTE)
    away, home = expected.of(ELSEWHERE, UNKNOWN, work), expected.of(AT_HOME, UNKNOWN, work)
    assert home.usd_micros == expected.of(AT_HOME, UNKNOWN, Work(run_s=4 * 3600.0)).usd_micros
    assert away.usd_micros > home.usd_micros
    assert "its data is elsewhere: $90.00 and 0.4 h to move it" in str(away)


def test_the_cheaper_cloud_is_bought_without_data_and_the_one_with_the_data_otherwise() -> None:
    offers = [AT_HOME, OTHER_REGION, ELSEWHERE]
    for data, wanted in (((), "away"), (TERABYTE, "home")):
        (buy,) = planner.plan(world(jobs=[reading("a", data)], offers=offers), NOW, 1).actions
        assert isinstance(buy, BuyNode)
        assert buy.offer.instance_type == wanted


@pytest.mark.parametrize("nodes", [1, 2])
def test_free_nodes_next_to_the_data_come_first_and_others_will_do(nodes: int) -> None:
    away = [node(f"a{i}", ELSEWHERE) for i in range(nodes)]
    home = [node(f"z{i}", AT_HOME) for i in range(nodes)]
    mine = reading("a", TERABYTE, nodes=nodes)
    for there, wanted in (([*away, *home], "z"), (away, "a")):
        (start,) = planner.plan(world(jobs=[mine], nodes=there), NOW, 1).actions
        assert isinstance(start, StartAttempt)
        assert {slot.node_id[0] for slot in start.slots} == {wanted}
