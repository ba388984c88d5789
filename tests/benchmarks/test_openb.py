"""The openb replay: arrivals as published, a short look at what placement makes of them."""

from godwit.scheduler.asks import WHOLE

from benchmarks.openb import measurement, trace

CAPACITY_MILLI = 6_212 * WHOLE


def test_the_fleet_and_the_list_are_those_of_the_paper() -> None:
    fleet, pods = trace.cluster(), trace.pods("default")
    assert (fleet.size, int(fleet.free.sum())) == (1_213, CAPACITY_MILLI)
    assert (len(pods), sum(pod.total_milli for pod in pods)) == (8_152, 6_086_800)


def test_arrivals_are_the_list_shuffled_and_topped_up_and_depend_on_the_seed_alone() -> None:
    pods = trace.pods("default")
    drawn = trace.arrivals(pods, CAPACITY_MILLI, 42)
    assert sorted(map(repr, drawn[: len(pods)])) == sorted(map(repr, pods))
    assert 1.298 * CAPACITY_MILLI < sum(pod.total_milli for pod in drawn) <= 1.3 * CAPACITY_MILLI
    assert drawn == trace.arrivals(pods, CAPACITY_MILLI, 42)
    assert drawn != trace.arrivals(pods, CAPACITY_MILLI, 43)


def test_a_list_that_asks_for_too_much_loses_pods() -> None:
    pods = trace.pods("multigpu50")
    drawn = trace.arrivals(pods, CAPACITY_MILLI, 42)
    assert len(drawn) < len(pods)
    assert sum(pod.total_milli for pod in drawn) <= 1.3 * CAPACITY_MILLI


def test_placement_that_learned_gives_out_more_than_best_fit() -> None:
    learned, best_fit = (measurement.run("multigpu50", way, 42) for way in ("learned", "best-fit"))
    assert learned.pods == best_fit.pods
    assert learned.at(100) > 96.5
    assert learned.at(100) > best_fit.at(100) + 0.5
