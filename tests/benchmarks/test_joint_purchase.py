"""The optimum that purchases are held against is one."""

from dataclasses import replace

from benchmarks import exact_purchase, joint_purchase
from tests.scheduler.fleets import job, offer

SMALL, LARGE = offer("small", gpu_count=1, cpus=25, price=3.0), offer("large", price=20.0)


def test_what_fits_together_is_bought_together() -> None:
    eight = [job(f"j{i}", gpus=1) for i in range(8)]
    assert exact_purchase.least_usd_per_hour(eight, [SMALL, LARGE]) == 20.0
    assert exact_purchase.least_usd_per_hour(eight[:6], [SMALL, LARGE]) == 18.0
    assert exact_purchase.least_usd_per_hour(eight, [SMALL, replace(LARGE, capacity=0)]) == 24.0


def test_a_gang_is_bought_in_one_fabric() -> None:
    here, there = offer("here", price=10.0, capacity=1), offer("there", price=25.0, fabric_domain="f2")
    assert exact_purchase.least_usd_per_hour([job("a", nodes=2)], [here, there]) == 50.0
    single = job("b")
    assert exact_purchase.least_usd_per_hour([job("a", nodes=2), single], [here, there]) == 60.0


def test_no_purchase_of_the_planner_is_below_the_optimum() -> None:
    for seed in range(5):
        snapshot = joint_purchase.instance(seed)
        least = exact_purchase.least_usd_per_hour(snapshot.jobs, snapshot.offers)
        assert joint_purchase.planned_usd(snapshot) >= least - 1e-6
        assert joint_purchase.in_order_usd(snapshot) >= least - 1e-6


def test_its_figures_are_printed_beside_their_baselines() -> None:
    names = [figure.name for figure in joint_purchase.measure(instances=2)]
    assert len(names) == len(set(names)) == 8
