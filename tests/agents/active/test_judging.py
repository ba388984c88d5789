"""What figures of GPUs mean."""

import pytest
from godwit.agents.checks.active import figures, floors, judging
from godwit.agents.checks.active.figures import Begun, Said, Seen
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import GpuFact
from hypothesis import given
from hypothesis import strategies as st


def node(model: str = "H100-SXM", count: int = 8) -> dict[int, GpuFact]:
    return {n: GpuFact(index=n, uuid=f"GPU-{n}", model=model, memory_gib=80.0) for n in range(count)}


def rates(check: str, *values: float) -> Said:
    return Said(tuple(Seen(check, n, figure=value) for n, value in enumerate(values)), done=True)


def digests(*rounds: str, kind: str = "bf16") -> Said:
    return Said(tuple(Seen("correctness", n, kind, digest=d) for each in rounds for n, d in enumerate(each)), done=True)


def test_equal_gpus_are_sound() -> None:
    said = Said((*digests("aaaaaaaa", "aaaaaaaa").seen, *rates("matmul", *[640.0] * 8).seen), done=True)
    assert judging.judge(said, node(), strict=True) == []


def test_a_gpu_whose_bits_differ_from_its_peers_is_replaced() -> None:
    (verdict,) = judging.judge(digests("aaabaaaa"), node(), strict=False)
    assert (verdict.check, verdict.gpu, verdict.grade) == ("correctness", 3, Grade.UNHEALTHY)
    assert (verdict.code, verdict.remedy) == ("correctness:bf16", Remedy.REPLACE_NODE)
    assert "7 other GPUs" in verdict.reason


def test_a_gpu_whose_bits_change_from_one_time_to_the_next_is_replaced_even_without_peers() -> None:
    (verdict,) = judging.judge(digests("a", "b", "a"), node(count=1), strict=False)
    assert verdict.remedy is Remedy.REPLACE_NODE
    assert "2 different results in 3 times" in verdict.reason


def test_two_gpus_that_disagree_are_both_tried_again_for_nobody_knows_which_is_right() -> None:
    found = judging.judge(digests("ab"), node(count=2), strict=False)
    assert [(verdict.gpu, verdict.remedy) for verdict in found] == [(0, Remedy.NONE), (1, Remedy.NONE)]


def test_gpus_of_different_models_need_not_agree() -> None:
    mixed = node(count=1) | {1: GpuFact(index=1, uuid="GPU-1", model="L40S", memory_gib=48)}
    assert judging.judge(digests("ab"), mixed, strict=False) == []


@pytest.mark.parametrize(("figure", "grade"), [(590.0, None), (560.0, Grade.DEGRADED), (450.0, Grade.UNHEALTHY)])
def test_a_gpu_is_measured_by_the_median_of_its_peers(figure: float, grade: Grade | None) -> None:
    found = judging.judge(rates("matmul", 640, 641, figure, 639, 640, 642, 640, 638), node(), strict=False)
    assert [(v.gpu, v.grade, v.code) for v in found] == ([] if grade is None else [(2, grade, "matmul:slow")])


def test_where_peers_scatter_widely_one_at_their_edge_is_no_outlier() -> None:
    found = judging.judge(rates("matmul", 500, 640, 560, 700, 620, 540, 660, 720), node(), strict=False)
    assert found == []


def test_a_gpu_without_peers_is_measured_by_the_floor_of_its_model() -> None:
    (verdict,) = judging.judge(rates("bandwidth", 1_500), node(count=1), strict=False)
    assert (verdict.grade, verdict.code) == (Grade.UNHEALTHY, "bandwidth:slow")
    assert "1905" in verdict.reason
    assert judging.judge(rates("bandwidth", 1_500), node("T4", 1), strict=False) == []


def test_the_links_of_a_node_that_returns_to_work_must_be_faster_than_before_a_job() -> None:
    said = Said((Seen("all-reduce", None, figure=300.0),), done=True)
    assert judging.judge(said, node(), strict=False) == []
    (verdict,) = judging.judge(said, node(), strict=True)
    assert (verdict.check, verdict.gpu) == ("all-reduce", None)


def test_a_sum_that_comes_out_wrong_is_a_fault() -> None:
    said = Said((Seen("all-reduce", None, figure=450.0, error="3 of 9 sums came out wrong on rank 1"),), done=True)
    (verdict,) = judging.judge(said, node(), strict=False)
    assert verdict.code == "all-reduce:wrong"


def test_what_cuda_says_of_its_gpu_is_told_and_a_full_memory_is_not() -> None:
    said = Said((Seen("matmul", 1, error="CUDA error: uncorrectable ECC error encountered\n"),))
    (verdict,) = judging.judge(said, node(), strict=False)
    assert (verdict.gpu, verdict.code) == (1, "matmul:error")
    assert "ECC" in verdict.reason
    full = Said((Seen("matmul", 1, error="CUDA out of memory. Tried to allocate 4.00 GiB"),))
    assert judging.judge(full, node(), strict=False) == []


def test_a_gpu_that_did_not_answer_until_the_budget_was_over_is_named() -> None:
    said = Said(unanswered=Begun("bandwidth", 5))
    assert judging.judge(said, node(), strict=False) == []
    (verdict,) = judging.judge(said, node(), strict=False, killed=True)
    assert (verdict.gpu, verdict.code) == (5, "bandwidth:timeout")


def test_being_strict_is_to_let_nothing_slow_pass() -> None:
    (verdict,) = judging.judge(rates("matmul", *[640.0] * 7, 560.0), node(), strict=False)
    assert not judging.fails(verdict, strict=False)
    assert judging.fails(verdict, strict=True)


@given(st.lists(st.floats(100, 1_000), min_size=1, max_size=16), st.booleans())
def test_never_is_more_than_half_of_a_node_slower_than_its_own_median(values: list[float], strict: bool) -> None:
    found = judging.judge(rates("host-copy", *values), node("A10", len(values)), strict=strict)
    assert len(found) <= len(values) / 2


@given(st.sampled_from(sorted(floors.MODELS)), st.sampled_from(["matmul", "bandwidth", "host-copy"]), st.booleans())
def test_a_fake_gpu_is_above_the_floor_of_its_model(model: str, check: str, strict: bool) -> None:
    floor = floors.floor(model, check, strict=strict, gpus=8)
    assert floor is None or floors.nominal(model, check) > floor


def test_lines_that_are_not_ours_are_passed_over() -> None:
    ours = figures.line(Seen("matmul", 0, figure=1.0))
    text = f'NCCL INFO hello\n[1, 2]\n{{"seen"\n{ours}\n{figures.DONE}\n'
    said = figures.read(text)
    assert said.seen == (Seen("matmul", 0, figure=1.0),)
    assert said.done


def test_a_measurement_that_began_and_has_no_end_is_unanswered() -> None:
    begun = Begun("matmul", 2)
    assert figures.read(figures.line(begun)).unanswered == begun
    assert figures.read(f"{figures.line(begun)}\n{figures.line(Seen('matmul', 2, figure=1.0))}").unanswered is None


def test_figures_are_numbers_by_name_and_equal_digests_are_equal_numbers() -> None:
    said = Said((*digests("ff").seen, Seen("all-reduce", None, figure=460.12345)))
    assert judging.figures(said) == {
        "gpu0.correctness.bf16": 15.0, "gpu1.correctness.bf16": 15.0, "all-reduce": 460.123,
    }  # fmt: skip
