"""The elastic replay: its tables read as measured, and its figures come out of one small workload in seconds."""

import pytest

from benchmarks.pollux import measurement, policies, replay, tables
from benchmarks.pollux.replay import Job, Nodes
from benchmarks.pollux.tables import Application, Submission


@pytest.fixture(scope="module")
def known() -> dict[str, Application]:
    return dict(tables.applications())


def _bert(known: dict[str, Application], at_s: float = 0.0) -> Job:
    submission = Submission("bert-0", at_s, "bert", 4, 384)
    (job,) = replay.rigid([submission], known)
    return job


def test_a_measured_placement_is_read_as_measured(known: dict[str, Application]) -> None:
    assert known["bert"].step_time_s((1,), 4) == (0.455324, 0.0137386)


def test_a_ring_of_nodes_may_be_turned(known: dict[str, Application]) -> None:
    assert known["cifar10"].step_time_s((4, 1), 64) == known["cifar10"].step_time_s((1, 4), 64)


def test_what_was_not_measured_lies_between_its_neighbours(known: dict[str, Application]) -> None:
    four, five, six = (known["imagenet"].step_time_s((4,) * nodes, 100)[0] for nodes in (4, 5, 6))
    assert min(four, six) <= five <= max(four, six)


def test_a_job_pays_for_its_start_and_for_each_change_but_not_for_keeping(known: dict[str, Application]) -> None:
    job = _bert(known)
    job.give(((0, 4),), 0.0)
    job.run(0.0, 30.0)
    assert job.done == 0
    job.give(((0, 4),), 30.0)
    job.run(30.0, 30.0)
    assert job.done > 0
    done = job.done
    job.give(((1, 4),), 60.0)
    job.run(60.0, 30.0)
    assert (job.done, job.restarts) == (done, 1)


def test_a_job_ends_at_the_second_and_not_at_the_minute(known: dict[str, Application]) -> None:
    outcome = replay.run([_bert(known)], policies.fixed(policies.arrival))
    assert 0.5 < outcome.mean_h < 2
    assert (outcome.hours["bert-0"] * 60) % 1 != pytest.approx(0)


def test_a_policy_that_gives_more_than_there_is_stops_the_replay(known: dict[str, Application]) -> None:
    greedy: dict[str, Nodes] = {"bert-0": ((0, 5),)}
    with pytest.raises(RuntimeError, match="more than 4 GPUs"):
        replay.run([_bert(known)], lambda _jobs, _now_s: greedy)


def test_the_first_twenty_jobs_end_sooner_with_elastic_sizes_than_with_equal_shares(
    known: dict[str, Application],
) -> None:
    first = tables.workload(3)[:20]
    ours = replay.run(replay.elastic(first, known), policies.godwit())
    equal = replay.run(replay.elastic(first, known), policies.equal_shares)
    assert ours.mean_h < equal.mean_h
    assert ours.planner_s_mean < 1.0


def test_replaying_twice_gives_the_same_hours(known: dict[str, Application]) -> None:
    first = tables.workload(6)[:8]
    once, again = (replay.run(replay.elastic(first, known), policies.godwit()).hours for _ in range(2))
    assert once == again


def test_the_measurement_prints_ours_beside_every_baseline_of_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    first = tables.workload(3)[:10]
    monkeypatch.setattr(tables, "workload", lambda _number: first)
    found = {figure.name: figure for figure in measurement.measure((3,))}
    ours = found["pollux: mean JCT, godwit"]
    assert ours.verdict == "yes"
    assert found["pollux: slowest decision of a minute"].verdict == "yes"
    baselines = [figure for figure in found.values() if figure.note.startswith("baseline")]
    assert len(baselines) == 5
    assert all(ours.value < figure.value for figure in baselines)
