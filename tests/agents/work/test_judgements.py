"""Steps, losses, ranks and crashes: what they say of a job."""

import json
import math
from pathlib import Path

import pytest
from godwit.agents.checks.work import crash
from godwit.agents.checks.work.losses import STAYS, LossWatch
from godwit.agents.checks.work.ranks import KEPT, WINDOW_STEPS, RankWindows, merged
from godwit.agents.checks.work.reports import Lines, Reader, of_helper, of_output
from godwit.agents.checks.work.steps import StepClock
from godwit.agents.effects import Outcome, Stopped
from godwit.domain.health import Grade, Remedy
from hypothesis import given
from hypothesis import strategies as st


def stepping(every_s: float, steps: int, asked_s: float | None = None, total: int | None = None) -> StepClock:
    clock = StepClock(0.0, asked_s)
    for step in range(1, steps + 1):
        clock.saw(step, total, step * every_s)
    return clock


def test_a_job_hangs_after_five_usual_steps_but_not_before_a_minute() -> None:
    assert stepping(30.0, 10).limit_s == 150.0
    assert stepping(0.5, 10).limit_s == 60.0
    clock = stepping(30.0, 10)
    assert not clock.hangs(300.0 + 150.0)
    assert clock.hangs(300.0 + 151.0)


def test_nobody_can_tell_before_some_steps_and_after_the_last_one() -> None:
    assert stepping(1.0, 4).limit_s is None
    assert stepping(1.0, 10, total=10).limit_s is None
    assert StepClock(0.0).limit_s is None


def test_lines_of_output_need_more_steps_than_reports_do() -> None:
    clock = stepping(1.0, 8)
    clock.from_output = True
    assert clock.limit_s is None


def test_the_owners_wish_goes_before_all_of_it() -> None:
    assert stepping(1.0, 2, asked_s=600.0).limit_s == 600.0
    assert StepClock(0.0, 0.0).limit_s is None


def test_before_its_first_step_a_job_has_five_times_as_long_as_its_owner_gives_it() -> None:
    clock = StepClock(5.0, 10.0)
    assert not clock.hangs(54.9)
    assert clock.hangs(55.1)
    clock.saw(1, None, 50.0)
    assert clock.hangs(60.1)


def test_the_same_step_again_is_no_step() -> None:
    clock = stepping(1.0, 10)
    clock.saw(10, None, 100.0)
    assert clock.silent_s(100.0) == 90.0


@given(st.lists(st.floats(0, 1_000), min_size=6, max_size=80))
def test_no_job_hangs_right_after_a_step(gaps: list[float]) -> None:
    clock, now = StepClock(0.0), 0.0
    for step, gap in enumerate(gaps):
        now += gap
        clock.saw(step, None, now)
    assert not clock.hangs(now + 59.9)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_told_once_and_so_is_its_end(loss: float) -> None:
    watch = LossWatch()
    assert watch.saw(2.0) is None
    assert [watch.saw(loss), watch.saw(loss)] == ["loss:nan", None]
    assert [watch.saw(2.0) for _ in range(9)] == [*[None] * 7, "", None]


def test_a_loss_that_stays_no_number_is_told_once_more_whatever_its_gradients_are() -> None:
    watch = LossWatch()
    told = [(watch.saw(math.nan, math.nan), watch.stays) for _ in range(STAYS)]
    assert told == [("loss:nan", False), *[(None, False)] * (STAYS - 2), ("loss:nan", True)]
    assert (watch.saw(None, math.nan), watch.saw(math.nan), watch.stays) == (None, None, False)


def test_losses_that_are_numbers_in_between_and_gradients_alone_do_not_stay_so() -> None:
    watch = LossWatch()
    told = [watch.saw(math.nan if number % STAYS else 2.0) for number in range(3 * STAYS)]
    assert told.count("loss:nan") == 1
    assert [watch.saw(None, math.inf) for _ in range(3 * STAYS)] == [None] * 3 * STAYS


def test_a_gradient_that_is_no_number_counts_as_the_loss_does() -> None:
    assert LossWatch().saw(2.0, math.nan) == "loss:nan"


def test_a_loss_five_times_its_median_jumped_once_enough_are_known() -> None:
    watch = LossWatch()
    assert [watch.saw(value) for value in (0.1, 2.0, 0.1, 2.0)] == [None] * 4
    for _ in range(32):
        watch.saw(2.0)
    assert watch.saw(9.9) is None
    assert watch.saw(10.5) == "loss:jump"


def test_negative_losses_do_not_jump() -> None:
    watch = LossWatch()
    assert {watch.saw(value) for value in [-2.0] * 40 + [-0.1, 3.0]} == {None}


def test_a_window_is_over_once_somebody_is_in_the_next_and_who_is_late_does_not_count() -> None:
    ranks = RankWindows()
    for step in range(WINDOW_STEPS):
        for rank, took in ((0, 1.0), (1, 2.0 + step % 2)):
            assert not ranks.saw(rank, step, took)
    assert ranks.complete == {}
    assert ranks.saw(0, WINDOW_STEPS, 1.0)
    assert not ranks.saw(1, WINDOW_STEPS - 1, 9.0)
    assert ranks.complete == {0: {0: 1.0, 1: 2.5}}


def test_windows_of_all_nodes_are_put_together_where_most_have_them() -> None:
    first, second, third = {0: {0: 1.0}, 1: {0: 1.0}, 2: {0: 1.0}}, {0: {1: 2.0}, 1: {1: 2.0}}, {1: {2: 3.0}}
    assert merged([first, second, third, {}]) == {0: {0: 1.0, 1: 2.0}, 1: {0: 1.0, 1: 2.0, 2: 3.0}}


def test_a_rank_that_two_nodes_claim_is_left_out() -> None:
    assert merged([{0: {0: 1.0, 1: 1.0}}, {0: {0: 2.0, 2: 1.0}}]) == {0: {1: 1.0, 2: 1.0}}


def test_no_more_windows_are_kept_than_are_needed() -> None:
    ranks = RankWindows()
    for step in range(0, 100 * WINDOW_STEPS, WINDOW_STEPS):
        ranks.saw(0, step, 1.0)
    assert list(ranks.complete) == list(range(99 - KEPT, 99))


@pytest.mark.parametrize(
    ("line", "step", "total", "loss"),
    [
        ("step 120/1000 loss 2.31", 120, 1000, 2.31),
        ("[rank0] Step: 7, train_loss=1.5e-1", 7, None, 0.15),
        (" iteration      100/     500 | lm loss: 7.1E+00 | grad norm: 1.2 |", 100, 500, 7.1),
        ("global_step=42 loss: nan", 42, None, math.nan),
        ("epoch 3 iter 9 of 12", 9, 12, None),
        ("this step loses nothing", None, None, None),
        ("steps are fun, 3 of them", None, None, None),
    ],
)
def test_lines_of_output_tell_steps_and_losses(
    line: str, step: int | None, total: int | None, loss: float | None
) -> None:
    report = of_output(line)
    assert (None if report is None else report.step) == step
    if report is not None:
        assert report.total_steps == total
        assert report.loss == loss or (report.loss is not None and loss is not None and math.isnan(loss))


def helper_line(step: int, **more: object) -> str:
    return json.dumps({"at": 1.0, "step": step, "total_steps": None, "metrics": {}, **more}) + "\n"


def test_a_report_of_the_helper_tells_rank_loss_and_compute_time() -> None:
    report = of_helper(helper_line(3, rank=5, metrics={"train/loss": math.nan, "compute_s": 0.5, "lr": 1}))
    assert report is not None
    assert (report.rank, report.compute_s) == (5, 0.5)
    assert report.loss is not None
    assert math.isnan(report.loss)


@given(st.text(max_size=60) | st.dictionaries(st.sampled_from(["at", "step", "metrics", "rank"]), st.none() | st.text())
       .map(json.dumps))  # fmt: skip
def test_whatever_a_program_writes_can_be_read(line: str) -> None:
    of_helper(line)
    of_output(line)


def test_the_output_counts_until_the_helper_says_something(tmp_path: Path) -> None:
    output, helper = tmp_path / "output.log", tmp_path / "progress.jsonl"
    output.write_text("step 1 was before we looked\n")
    reader = Reader(tmp_path, output)
    assert list(reader.new()) == []
    with output.open("a") as file:
        file.write("step 2\nstep 3")
    assert [report.step for report in reader.new()] == [2]
    helper.write_text(helper_line(10))
    with output.open("a") as file:
        file.write(" half\nstep 4\n")
    assert [report.step for report in reader.new()] == [10]
    assert not reader.from_output


def test_a_file_that_is_replaced_or_grows_beyond_bounds_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lines = Lines(path)
    assert lines.new() == []
    path.write_text("one\n")
    assert lines.new() == ["one"]
    (tmp_path / "y").write_text("two\nthr")
    (tmp_path / "y").replace(path)
    assert lines.new() == ["two"]
    with path.open("a") as file:
        file.write("ee\n" + "x" * 300_000 + "\nlast\n")
    assert lines.new() == ["last"]
    with path.open("a") as file:
        file.write("y" * 600_000)
    assert lines.new() == []
    with path.open("a") as file:
        file.write("\nafter\n")
    assert lines.new()[-1] == "after"


def end(*lines: str, outcome: Outcome = "failed") -> Stopped:
    return Stopped("att-1", outcome, 1, last_lines=lines)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", "cuda:ecc"),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", "cuda:illegal-address"),
        ("RuntimeError: CUDA error: device-side assert triggered", "cuda:assert"),
        ("torch.AcceleratorError: CUDA error: unspecified launch failure", "cuda:launch-failure"),
        ("[rank3]:[E] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)", "nccl:watchdog"),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:1, ncclRemoteError: A call failed", "nccl:network"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", "cublas"),
        ("RuntimeError: CUDA error: no CUDA-capable device is detected", "cuda:no-device"),
        ("RuntimeError: CUDA error: something quite new", "cuda:other"),
    ],
)
def test_a_crash_on_an_error_of_cuda_or_nccl_is_attributed(line: str, code: str) -> None:
    found = crash.attribution(end("Traceback (most recent call last):", line, "  at exit"))
    assert found is not None
    assert (found.check, found.code, found.grade, found.suggested) == ("crash", code, Grade.DEGRADED, Remedy.NONE)
    assert found.evidence == {"line1": line, "exit_code": 1}


@pytest.mark.parametrize(
    "stopped",
    [
        end("ValueError: shapes do not match"),
        end("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"),
        end("RuntimeError: CUDA error: out of memory"),
        end("CUDA error: unspecified launch failure", outcome="interrupted"),
        end("CUDA error: unspecified launch failure", outcome="succeeded"),
        end(),
    ],
)
def test_other_ends_say_nothing_of_hardware(stopped: Stopped) -> None:
    assert crash.attribution(stopped) is None
