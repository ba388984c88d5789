"""What is learned of a job's speed from its own reports, and what is assumed before them."""

import numpy as np
import pytest
from godwit.scheduler.elasticity import curve, goodput, throughput
from godwit.scheduler.elasticity.goodput import Batching
from godwit.scheduler.elasticity.throughput import Link, Observation, StepTimes
from hypothesis import given
from hypothesis import strategies as st

SIZES = ((1, 1), (1, 2), (1, 4), (2, 8), (4, 16))
BATCHES = (8, 16, 32)
BATCHING = Batching(init=32, max=4096, min_local=8, max_local=256)


@st.composite
def models(draw: st.DrawFn) -> StepTimes:
    seconds = st.floats(0.001, 1.0)
    local, spread = Link(draw(seconds), draw(seconds)), Link(draw(seconds), draw(seconds))
    return StepTimes(draw(seconds), draw(seconds) / 10, local, spread, draw(st.sampled_from(throughput.OVERLAPS)))


def _reports(model: StepTimes) -> list[Observation]:
    return [
        Observation(nodes, gpus, batch, step_s, step_s - float(model.compute_s(batch)))
        for nodes, gpus in SIZES
        for batch in BATCHES
        for step_s in [float(model.step_s(nodes, gpus, batch))]
    ]


@given(models())
def test_a_job_that_follows_the_model_is_predicted_where_it_never_was(truth: StepTimes) -> None:
    fitted = throughput.fit(_reports(truth))
    for nodes, gpus, batch in ((1, 3, 24), (3, 12, 16), (8, 32, 48)):
        assert fitted.step_s(nodes, gpus, batch) == pytest.approx(truth.step_s(nodes, gpus, batch), rel=0.1)


@given(models(), st.randoms(use_true_random=False))
def test_the_order_of_reports_does_not_matter(truth: StepTimes, rng: object) -> None:
    reports = _reports(truth)
    shuffled = sorted(reports, key=lambda _: rng.random())  # type: ignore[attr-defined]
    assert throughput.fit(shuffled) == throughput.fit(reports)


def test_before_several_gpus_were_seen_scaling_is_taken_to_be_good_and_across_nodes_less_so() -> None:
    fitted = throughput.fit([Observation(1, 1, 32, 1.0, 0.0)])
    alone, together, apart = (float(fitted.step_s(*size, 32)) for size in ((1, 1), (1, 4), (2, 8)))
    assert alone == pytest.approx(1.0)
    assert alone < together < apart < 1.5


def test_one_try_over_nodes_corrects_what_was_hoped() -> None:
    reports = [Observation(1, 4, 32, 1.1, 0.1), Observation(2, 8, 32, 5.0, 4.0)]
    assert float(throughput.fit(reports).step_s(2, 8, 32)) == pytest.approx(5.0, rel=0.05)


@given(st.floats(0, 1e6), st.floats(1, 1e4))
def test_a_larger_batch_never_teaches_less_nor_more_than_its_samples(noise: float, scale: float) -> None:
    assert 1 - 1e-9 <= float(goodput.gain(noise, scale)) <= scale * (1 + 1e-9)


@given(models(), st.floats(0, 1e4), st.integers(1, 64))
def test_the_chosen_batch_can_be_run(model: StepTimes, noise: float, gpus: int) -> None:
    batch = goodput.best(model, noise, BATCHING, -(-gpus // 4), gpus)
    assert BATCHING.min_local <= batch.local <= BATCHING.max_local
    assert batch.total(gpus) <= BATCHING.max
    assert batch.goodput > 0


@given(models())
def test_with_noisy_gradients_batches_grow(model: StepTimes) -> None:
    calm, noisy = (goodput.best(model, noise, BATCHING, 2, 8) for noise in (0.01, 1e6))
    assert noisy.total(8) >= calm.total(8)


def test_a_fixed_batch_stays() -> None:
    fixed = Batching(init=32, max=4096, min_local=8, max_local=256, fixed=1024)
    model = throughput.fit([Observation(1, 1, 32, 1.0, 0.0)])
    assert [goodput.best(model, 5.0, fixed, 1, gpus).total(gpus) for gpus in (1, 2, 4)] == [1024] * 3


def test_what_was_seen_counts_and_the_rest_follows_amdahl() -> None:
    known = curve.amdahl({1: 10.0, 4: 25.0}, (1, 2, 4, 8))
    assert known.measured
    assert known.speeds[0] == 10.0
    assert known.speeds[2] == 25.0
    assert 10.0 < known.speeds[1] < 20.0
    assert 25.0 < known.speeds[3] < 50.0


def test_before_any_report_a_tenth_is_serial() -> None:
    known = curve.amdahl({}, (1, 2, 4))
    assert not known.measured
    np.testing.assert_allclose(known.speeds, (1.0, 1 / 0.55, 1 / 0.325))


@given(st.integers(1, 16), st.integers(0, 64), st.sampled_from((1, 2, 4, 8)), st.integers(0, 32))
def test_sizes_keep_to_the_bounds_and_beyond_one_node_to_whole_ones(
    least: int, more: int, per_node: int, tried: int
) -> None:
    found = curve.sizes(least, least + more, per_node, tried)
    assert found[0] == least
    assert found[-1] <= least + more
    assert all(size <= per_node or size % per_node == 0 for size in found if size not in (least, least + more))


def test_a_job_grows_from_what_it_was_seen_at() -> None:
    assert curve.sizes(1, 64, 4) == (1, 2, 3, 4)
    assert curve.sizes(1, 64, 4, tried=4) == (1, 2, 3, 4, 8, 12, 16)
    assert curve.sizes(1, 14, 4, tried=4) == (1, 2, 3, 4, 8, 12, 14)
