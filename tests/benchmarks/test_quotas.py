"""The measurement of quotas, made small: every workload runs, and limits bind."""

from benchmarks.quotas import generator, measurement


def test_the_generator_is_the_one_that_kueue_publishes() -> None:
    everything = generator.workloads()
    assert len(everything) == 15_000
    assert (everything[0].at_s, everything[-1].at_s) == (0.1, 60.0)
    work_s = sum(one.sort.units * one.sort.runs_ms for one in everything) / 1000
    assert work_s / (generator.COHORTS * generator.QUEUES * generator.NOMINAL_UNITS) == 66.0


def test_a_fifth_of_the_workloads_of_one_cohort_all_run_and_large_ones_wait_least() -> None:
    played = measurement.play(measurement.fair, cohorts=1, per_mille=200)
    assert len(played.admitted_s) == 6 * (70 + 20 + 10)
    assert played.starts == len(played.admitted_s) + played.evictions
    assert measurement.waited_s(played, "large") < measurement.waited_s(played, "small")
    assert played.ended_s > 12.0, "the last comes at 12 s"
