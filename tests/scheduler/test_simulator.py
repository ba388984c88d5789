"""The simulator: capacity holds at every event, GPU-seconds add up, all jobs end, equal input gives equal output."""

import gzip
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from godwit.domain.errors import InvalidRequest
from godwit.scheduler.giving_way import Preemption
from godwit.scheduler.preemption import MIN_RUN_S
from godwit.scheduler.simulator import fleets, traces
from godwit.scheduler.simulator.outcomes import Outcome, summary
from godwit.scheduler.simulator.policies import POLICIES
from godwit.scheduler.simulator.traces import TraceJob
from godwit.scheduler.simulator.world import Stops, World
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import traces as shipped

HOUR = 3600.0


def simulate(
    jobs: Sequence[TraceJob], policy: str, fleet: str = "3 x H100-SXM:8", stops: Stops | None = None
) -> Outcome:
    pools = fleets.parse([fleet])
    made = POLICIES[policy].make(fleets.cluster(pools), 60.0)
    return World(jobs, made, stops).run(policy, fleets.usd_per_hour(pools))


def job(name: str, submit_s: float, duration_s: float, gpus: int = 8, nodes: int = 1, priority: int = 0) -> TraceJob:
    return TraceJob(name, submit_s, duration_s, nodes, gpus, "u", priority)


def ends(outcome: Outcome) -> dict[str, float | None]:
    return {course.job.job_id: course.end_s for course in outcome.courses}


JOBS = st.lists(
    st.builds(
        lambda submit_s, duration_s, size, priority: (submit_s, duration_s, *size, priority),
        st.integers(0, 20_000),
        st.integers(1, 30_000),
        st.sampled_from([(1, 1), (2, 1), (4, 1), (8, 1), (8, 2), (8, 3)]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=30,
)


GUARDED_S = {"default": Preemption().min_run_s, "las-costless": 0.0}


@pytest.mark.parametrize("policy", list(POLICIES))
@settings(max_examples=25, deadline=None)
@given(drawn=JOBS)
def test_every_job_ends_capacity_holds_and_gpu_seconds_add_up(
    policy: str, drawn: Sequence[tuple[int, int, int, int, int]]
) -> None:
    jobs = sorted(
        (
            job(f"j{n}", float(at), float(runs), gpus, nodes, priority)
            for n, (at, runs, gpus, nodes, priority) in enumerate(drawn)
        ),
        key=lambda each: each.submit_s,
    )
    outcome = simulate(jobs, policy)
    assert [course.job for course in outcome.courses] == jobs
    _check_capacity(outcome)
    busy, least_s = 0.0, GUARDED_S.get(policy, MIN_RUN_S)
    for course in outcome.courses:
        stints = course.stints
        assert course.end_s == stints[-1].end_s
        assert all(first.end_s <= then.start_s for first, then in pairwise(stints))
        assert sum(stint.kept_s for stint in stints) == pytest.approx(course.job.duration_s)
        assert all(stint.start_s >= course.job.submit_s for stint in stints)
        assert all(stint.end_s - stint.start_s >= least_s for stint in stints[:-1]), "stopped too soon"
        busy += course.ran_s * course.job.gpus
    assert busy == pytest.approx(outcome.meter.busy)
    found = summary(outcome)
    assert found.jct_mean_s >= sum(each.duration_s for each in jobs) / len(jobs) - 1e-6
    assert 0 <= found.lost_share < 1
    assert 0 <= found.utilization <= 1


def _check_capacity(outcome: Outcome) -> None:
    changes = defaultdict[int, list[tuple[float, int]]](list)
    for course in outcome.courses:
        for stint in course.stints:
            assert len(stint.rows) == len(set(stint.rows)) == course.job.nodes
            for row in stint.rows:
                changes[row] += [(stint.start_s, course.job.gpus_per_node), (stint.end_s, -course.job.gpus_per_node)]
    for row, moments in changes.items():
        held = 0
        for _, change in sorted(moments):
            held += change
            assert held <= outcome.node_gpus[row]


def test_the_same_input_gives_the_same_outcome() -> None:
    jobs = [job(f"j{n}", 100.0 * n, 500.0 + 7919.0 * n % 40_000, 1 + 7 * (n % 3 == 0)) for n in range(200)]
    assert simulate(jobs, "time-sharing").courses == simulate(jobs, "time-sharing").courses


def test_a_stop_costs_the_restart_and_the_work_since_the_last_checkpoint() -> None:
    jobs = [job("low", 0.0, 10_000.0), job("high", 1500.0, 1000.0, priority=1)]
    outcome = simulate(jobs, "default", "1 x H100-SXM:8")
    assert ends(outcome) == {"high": 2500.0, "low": 2500.0 + 60.0 + 10_000.0 - 1200.0}
    found = summary(outcome)
    assert found.stops == 1
    assert found.lost_share == pytest.approx((60 + 300) / (11_000 + 360))


def test_time_sharing_lets_a_short_job_pass_a_long_one_without_knowing_which_is_which() -> None:
    jobs = [job("long", 0.0, 40 * HOUR), job("short", 10 * HOUR, HOUR)]
    outcome = simulate(jobs, "time-sharing", "1 x H100-SXM:8")
    assert ends(outcome) == {"long": 41 * HOUR + 60.0, "short": 11 * HOUR}


def test_time_alone_lets_a_short_job_pass_when_nothing_else_happens() -> None:
    jobs = [job("long", 0.0, 40 * HOUR), job("short", 60.0, 600.0)]
    outcome = simulate(jobs, "time-sharing", "1 x H100-SXM:8")
    assert (ends(outcome)["short"] or 0.0) < HOUR


def test_nobody_passes_in_line_and_easy_lets_pass_only_who_delays_nobody() -> None:
    jobs = [
        job("runs", 0.0, 10_000.0),
        job("first", 1.0, 100.0, nodes=2),
        job("short", 2.0, 5_000.0),
        job("long", 3.0, 20_000.0),
    ]
    fleet = "2 x H100-SXM:8"
    assert ends(simulate(jobs, "fifo", fleet))["short"] == 15_100.0
    eased = ends(simulate(jobs, "easy-oracle", fleet))
    assert (eased["short"], eased["first"]) == (5_002.0, 10_100.0)


def test_what_no_node_can_hold_is_left_out_and_told() -> None:
    outcome = simulate([job("fits", 0.0, 10.0), job("large", 1.0, 10.0, nodes=9)], "default")
    assert [each.job_id for each in outcome.left_out] == ["large"]
    assert summary(outcome).left_out == 1


def test_a_fleet_that_holds_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="holds none of the jobs"):
        simulate([job("large", 1.0, 10.0, nodes=9)], "default")


def test_a_fleet_costs_its_price_until_the_last_job_ends() -> None:
    found = summary(simulate([job("one", 0.0, 2 * HOUR)], "fifo", "3 x H100-SXM:8 at $20/h"))
    assert found.usd == pytest.approx(3 * 20 * 2)
    assert found.usd_per_useful_gpu_hour == pytest.approx(120 / 16)


def test_a_trace_says_how_large_gangs_are() -> None:
    lines = ["submit_s,gpus,duration_s,user,nodes", "5,12,60,u,", "1,6,60,u,3"]
    found = traces.read(lines)
    assert [(each.submit_s, each.nodes, each.gpus_per_node) for each in found] == [(1.0, 3, 2), (5.0, 2, 8)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["submit_s,gpus,user"], "no column duration_s"),
        (["submit_s,gpus,duration_s,user"], "no jobs"),
        (["submit_s,gpus,duration_s,user", "1,1,nan,u"], "line 2 of the trace: duration_s is 'nan'"),
        (["submit_s,gpus,duration_s,user", "1,1,9,u", "-1,1,9,u"], "line 3 of the trace: submit_s is '-1'"),
        (["submit_s,gpus,duration_s,user,nodes", "1,7,9,u,2"], "7 GPUs do not divide over 2 nodes"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        traces.read(lines)


def test_a_fleet_is_read_from_words() -> None:
    (one,) = fleets.parse(["80 x H100-SXM:8 at $20.50/h on lambda/us-east in fabrics of 16"])
    assert one == fleets.Pool(80, "H100-SXM", 8, 20.5, "lambda", "us-east", 16)
    (listed,) = fleets.parse(["2 x L4:1"], {"L4:1": 0.8})
    assert listed.usd_per_hour == 0.8
    with pytest.raises(InvalidRequest, match="80 x H100-SXM:8"):
        fleets.parse(["eighty nodes"])


def test_what_if_adds_removes_and_reprices() -> None:
    fleet = fleets.parse(["2 x H100-SXM:8 at $20/h on lambda", "3 x L4:1 at $1/h on gcp"])
    assert fleets.usd_per_hour(fleet) == 43.0
    assert fleets.told(fleets.what_if(fleet, "remove lambda; add 4 x A100:8 at $10/h")) == "3 x L4:1, 4 x A100:8"
    assert fleets.usd_per_hour(fleets.what_if(fleet, "price lambda/H100-SXM:8 = $15")) == 33.0
    for wrong in ("remove azure", "price B200:8 = 3", "sell everything", "remove lambda; remove gcp"):
        with pytest.raises(InvalidRequest, match="what if"):
            fleets.what_if(fleet, wrong)


def test_two_days_of_philly_end_sooner_with_time_sharing_than_in_line() -> None:
    with gzip.open(shipped.path("philly", "philly_jobs_2017-09-04_to_2017-10-31.csv.gz"), "rt", newline="") as lines:
        jobs = traces.window(traces.read(lines), 35 * 86_400.0, 37 * 86_400.0)
    found = {name: summary(simulate(jobs, name, "24 x P100:8")) for name in ("time-sharing", "fifo", "sjf-oracle")}
    assert found["time-sharing"].jct_mean_s < found["sjf-oracle"].jct_mean_s < found["fifo"].jct_mean_s
    assert found["time-sharing"].stops > 0
