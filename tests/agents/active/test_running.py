"""Orders to check, from the command to its end: fake GPUs, this machine's CPU, and children that misbehave."""

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from godwit.agents.accelerators import faultlist
from godwit.agents.checks.active import child, devices, figures, judging
from godwit.agents.checks.active.child import Ended, Order
from godwit.agents.checks.active.figures import Begun, Said
from godwit.agents.checks.active.running import ActiveChecks
from godwit.agents.effects import Checked, Found, HealthEvent
from godwit.domain.health import Grade
from godwit.domain.wire.agents import GpuFact
from godwit.domain.wire.health import RunChecks

FACTS = [GpuFact(index=n, uuid=f"GPU-{n}", model="H100-SXM", memory_gib=80.0) for n in range(4)]


class Bench:
    """Active checks of a node with four fake GPUs, and what they reported."""

    def __init__(self, **more: Any) -> None:
        self.told: list[HealthEvent] = []
        self.faults: dict[int, Collection[str]] = {}
        self.checks = ActiveChecks(lambda: FACTS, self.told.append, lambda: self.faults, **more)

    def run(self, occasion: Any = "suspicion", gpus: Collection[int] = range(4)) -> Checked:
        self.told.clear()
        self.checks.run(RunChecks(intent_id="i-1", occasion=occasion, gpus=list(gpus), budget_s=30.0, reason="to see"))
        (over,) = [event for event in self.told if isinstance(event, Checked)]
        assert self.told[-1] is over
        return over

    @property
    def found(self) -> list[Found]:
        return [event for event in self.told if isinstance(event, Found)]


def test_sound_gpus_pass_and_their_figures_are_told() -> None:
    bench = Bench()
    over = bench.run()
    assert over.passed
    assert bench.found == []
    assert over.figures["gpu3.bandwidth"] == 2540.0
    assert over.figures["gpu0.correctness.bf16"] == over.figures["gpu3.correctness.bf16"]


@pytest.mark.parametrize(("fault", "check"), [
    ("silent-corruption", "correctness"), ("slow", "matmul"), ("gpu-lost", "correctness"), ("pcie-narrow", "host-copy"),
])  # fmt: skip
def test_a_fake_gpu_with_a_fault_fails_through_the_same_judgement_and_is_told_when_it_is_over(
    fault: str, check: str
) -> None:
    bench = Bench()
    bench.faults = {2: {fault}}
    over = bench.run()
    assert not over.passed
    assert "GPU 2: " in over.detail
    assert {(found.gpu, found.grade) for found in bench.found} == {("GPU-2", Grade.UNHEALTHY)}
    assert check in {found.check for found in bench.found}
    bench.faults = {}
    assert bench.run("return").passed
    assert {(found.gpu, found.grade) for found in bench.found} == {("GPU-2", Grade.HEALTHY)}


def test_only_the_gpus_of_the_order_are_tried() -> None:
    bench = Bench()
    bench.faults = {2: {"silent-corruption"}}
    assert bench.run(gpus=[0, 1]).passed


def test_a_preflight_tells_under_its_own_name_which_gpu_is_not_fit() -> None:
    bench = Bench()
    bench.faults = {1: {"slow"}}
    result = bench.checks.preflight(range(4), lambda: True)
    assert not result.passed
    assert {(found.check, found.gpu) for found in bench.found} == {("preflight", "GPU-1")}
    assert {found.code for found in bench.found} == {"matmul:slow", "bandwidth:slow", "host-copy:slow"}


def test_without_a_gpu_the_same_measurements_run_on_the_cpu() -> None:
    # The real child with PyTorch and gloo: some seconds, nearly all of them to load it (again for each rank).
    two = [{"index": 0, "model": "", "faults": []}, {"index": 1, "model": "", "faults": []}]
    ended = child.converse(Order("cpu", two, budget_s=280.0), lambda: True)
    assert (ended.how, ended.said.done, ended.said.absent) == ("done", True, ""), ended.stderr
    assert {one.check for one in ended.said.seen} == set(figures.CHECKS)
    assert [one.error for one in ended.said.seen if one.error] == []
    assert judging.judge(replace_rates(ended.said), {n: FACTS[n] for n in range(2)}, strict=True) == []


def replace_rates(said: Said) -> Said:
    """Without how fast this machine is: what is left are bits and sums."""
    return Said(tuple(replace(one, figure=None) for one in said.seen), done=said.done)


def answering(ended: Ended) -> Callable[[Order, Callable[[], bool]], Ended]:
    return lambda _order, _going_on: ended


@pytest.mark.parametrize(("occasion", "passed"), [("sweep", True), ("return", False)])
def test_a_child_that_never_got_to_a_gpu_is_no_fault_but_no_proof_either(occasion: str, passed: bool) -> None:
    over = Bench(converse=answering(Ended(Said(), "crashed", "Traceback\nImportError: libcudart"))).run(occasion)
    assert over.passed is passed
    assert "libcudart" in over.detail


def test_where_nothing_can_be_tried_the_order_passes_and_says_why() -> None:
    over = Bench(converse=answering(Ended(Said(absent="PyTorch is not installed"), "done"))).run("return")
    assert (over.passed, over.detail) == (True, "not applicable: PyTorch is not installed")


def test_a_gpu_that_never_answers_is_found_when_the_budget_is_over() -> None:
    bench = Bench(converse=answering(Ended(Said(unanswered=Begun("matmul", 3)), "killed")))
    assert not bench.run("sweep").passed
    assert [(found.gpu, found.code) for found in bench.found] == [("GPU-3", "matmul:timeout")]


def test_an_order_that_breaks_is_answered_all_the_same() -> None:
    def broken(_order: Order, _going_on: Callable[[], bool]) -> Ended:
        raise OSError("no memory for a process")

    assert "no memory" in Bench(converse=broken).run("sweep").detail
    assert not Bench(converse=broken).run("return").passed
    assert Bench(converse=broken).checks.preflight([0], lambda: True).passed


def test_a_sweep_makes_room_when_work_comes_and_a_test_does_not() -> None:
    begun = threading.Event()

    def until_stopped(_order: Order, going_on: Callable[[], bool]) -> Ended:
        begun.set()
        while going_on():
            pass
        return Ended(Said(), "stopped")

    bench = Bench(converse=until_stopped)
    sweep = threading.Thread(target=bench.run, args=("sweep",), daemon=True)
    sweep.start()
    assert begun.wait(10)
    bench.checks.work_comes()
    sweep.join(10)
    assert not sweep.is_alive()
    (over,) = [event for event in bench.told if isinstance(event, Checked)]
    assert over.passed
    assert "work came" in over.detail

    bench = Bench(converse=lambda _order, going_on: Ended(Said(done=True), "done" if going_on() else "stopped"))
    bench.checks.work_comes()
    assert "work came" not in bench.run("return").detail


def test_slices_are_not_tried() -> None:
    told: list[HealthEvent] = []
    slices = [GpuFact(index=0, uuid="MIG-1", model="H100-SXM-MIG-1g.10gb", memory_gib=10.0)]
    checks = ActiveChecks(lambda: slices, told.append, None, converse=answering(Ended(Said(), "crashed")))
    assert checks.preflight([0], lambda: True).passed


def test_a_child_is_ended_with_all_its_processes_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_command", lambda _argument: ["sh", "-c", "sleep 1000 & sleep 1000"])
    ended = child.converse(Order("fake", [], budget_s=0.2), lambda: True)
    assert (ended.how, ended.said) == ("killed", Said())
    assert child.converse(Order("fake", [], budget_s=60.0), lambda: False).how == "stopped"


def test_links_that_fail_are_a_matter_of_the_node_and_a_driver_that_hangs_of_all_its_gpus() -> None:
    bench = Bench()
    bench.faults = {3: {"nvlink-fatal"}}
    bench.run()
    assert [(found.check, found.gpu) for found in bench.found] == [("all-reduce", None)]
    bench.faults = {-1: {"driver-hang"}}
    assert not bench.run().passed
    assert {found.gpu for found in bench.found if found.grade is Grade.UNHEALTHY} == {f"GPU-{n}" for n in range(4)}


def test_what_is_being_tried_can_be_told_from_what_was_left_behind() -> None:
    seen: list[set[int]] = []

    def look(_order: Order, _going_on: Callable[[], bool]) -> Ended:
        seen.append(bench.checks.trying)
        return Ended(Said(done=True), "done")

    bench = Bench(converse=look)
    bench.run(gpus=[1, 2])
    assert (seen, bench.checks.trying) == ([{1, 2}], set())


def test_every_fault_that_a_fake_gpu_shows_to_these_checks_is_one_that_can_be_injected() -> None:
    shown = {*devices.ERRORS, *(fault for left in devices.LEFT.values() for fault in left)}
    assert [fault for fault in sorted(shown) if faultlist.named(fault) is None] == []
