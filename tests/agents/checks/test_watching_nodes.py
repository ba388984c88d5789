"""A monitor at work on simulated nodes, with its reading process, and repairs carried out."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from godwit.agents import caring
from godwit.agents.accelerators import faults
from godwit.agents.caring import CannotRepair, Caring
from godwit.agents.checks import page
from godwit.agents.checks.gpu.reader import Died, Reading, Silent
from godwit.agents.checks.kernel.parsing import read
from godwit.agents.checks.monitor import Monitor
from godwit.agents.effects import Check, Checked, Found, HealthEvent, Repaired
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import GpuFact
from godwit.domain.wire.health import RepairNode, RunChecks

from tests.agents.conftest import eventually

GPUS = [GpuFact(index=i, uuid=f"GPU-{i}", model="H100-SXM", memory_gib=80.0) for i in range(2)]


class Told:
    """What a monitor and a carer told, in order."""

    def __init__(self) -> None:
        self.events: list[HealthEvent] = []
        self._lock = threading.Lock()

    def hear(self, event: HealthEvent) -> None:
        with self._lock:
            self.events.append(event)

    def codes(self, grade: Grade = Grade.UNHEALTHY) -> set[tuple[str, str | None]]:
        found = [event for event in list(self.events) if isinstance(event, Found)]
        return {(one.code, one.gpu) for one in found if one.grade is grade}

    def repaired(self) -> list[Repaired]:
        return [event for event in list(self.events) if isinstance(event, Repaired)]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watch(tmp_path: Path, told: Told) -> Iterator[Callable[..., Monitor]]:
    made: list[Monitor] = []

    def make(**more: Any) -> Monitor:
        made.append(Monitor(tmp_path, GPUS, simulated=True, report=told.hear, **more))
        return made[-1]

    yield make
    for monitor in made:
        monitor.stop()


def test_a_dropped_fault_is_found_and_named_by_line_and_by_value(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    watch().start()
    assert (tmp_path / "faults").exists()
    (tmp_path / "faults" / "drill.json").write_text('{"fault": "gpu-lost", "gpu": 1}')
    eventually(lambda: {("xid:79", "GPU-1"), ("gpu:lost", "GPU-1")} <= told.codes(), what="both findings")
    (line,) = [one for one in told.events if isinstance(one, Found) and one.code == "xid:79"]
    assert line.suggested is Remedy.NONE
    assert str(line.evidence["line"]).startswith("NVRM: Xid (PCI:0000:18:00): 79")
    assert line.boot_id == faults.boot_id(tmp_path)


def test_an_error_of_the_bus_at_the_address_of_a_gpu_is_that_gpus(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch()
    for place in ("0000:18:00.0", "0000:00:02.0"):
        found = read(
            f"device {place}: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Receiver)"
        )
        assert found is not None
        monitor.hear(found)
    assert told.codes() == {("pcie-bus:fatal", "GPU-1"), ("pcie-bus:fatal", None)}


def test_a_driver_that_does_not_answer_is_a_finding_and_is_left_alone(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch(deadline_s=2.0)
    monitor.poll()
    faults.inject(tmp_path, "driver-hang")
    monitor.poll()
    assert told.codes() == {("driver:silent", None)}
    assert monitor.reading_pid is None
    faults.boot(tmp_path)
    monitor.was_booted()

    def is_over() -> bool:
        monitor.poll()
        return ("driver:silent", None) in told.codes(Grade.HEALTHY)

    eventually(is_over)


def test_an_agent_that_starts_again_does_not_repeat_itself(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    faults.lay_out(tmp_path)
    first = watch()
    faults.inject(tmp_path, "inforom", 0)
    first.poll()
    assert len(told.codes()) == 1
    before = len(told.events)
    watch().poll()
    assert len(told.events) == before


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    reading = Reading(None, [sys.executable, "-c", "pass"])
    for _ in range(2):
        with pytest.raises(Died):
            reading.poll(20.0)
    silent = Reading(None, [sys.executable, "-c", "import time; time.sleep(60)"], start_s=0.2)
    with pytest.raises(Silent):
        silent.poll(0.2)


def repair(remedy: Any = Remedy.RESET_GPU) -> RepairNode:
    return RepairNode(intent_id="int-1", remedy=remedy, gpus=["GPU-1"], reason="as decided")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caring, "SIMULATED_S", 0.0)


def test_a_reset_mends_what_resets_mend_and_says_so(watch: Callable[..., Monitor], told: Told, tmp_path: Path) -> None:
    monitor = watch()
    faults.inject(tmp_path, "ecc-uncorrected", 1)
    monitor.poll()
    carer = Caring(tmp_path, monitor, GPUS, told.hear, simulated=True)
    carer.repair(repair())
    assert [one.worked for one in told.repaired()] == [True]
    monitor.poll()
    assert ("ecc:uncorrected", "GPU-1") in told.codes(Grade.HEALTHY)
    assert monitor.standing(["GPU-1"]) == []


def test_what_is_told_of_a_gpu_carries_its_serial_number_also_when_it_is_lost(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch()
    monitor.poll()
    faults.inject(tmp_path, "gpu-lost", 1)
    monitor.poll()
    (lost,) = [one for one in told.events if isinstance(one, Found) and one.code == "gpu:lost"]
    assert (lost.gpu, lost.evidence["serial"]) == ("GPU-1", "1650000000001")


def test_a_reset_that_does_not_bring_the_gpu_back_did_not_work(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch()
    faults.inject(tmp_path, "gpu-lost", 1)
    monitor.poll()
    Caring(tmp_path, monitor, GPUS, told.hear, simulated=True).repair(repair())
    (answer,) = told.repaired()
    assert not answer.worked
    assert "GpuIsLost" in answer.detail


def test_a_reboot_is_another_boot(watch: Callable[..., Monitor], told: Told, tmp_path: Path) -> None:
    monitor = watch()
    before = monitor.boot_id()
    faults.inject(tmp_path, "gpu-lost", 1)
    monitor.poll()
    Caring(tmp_path, monitor, GPUS, told.hear, simulated=True).repair(repair(Remedy.REBOOT))
    assert [one.worked for one in told.repaired()] == [True]
    assert monitor.boot_id() != before
    monitor.poll()
    assert ("gpu:lost", "GPU-1") in told.codes(Grade.HEALTHY)


def test_a_reboot_that_happened_is_reported_by_the_agent_that_starts_after_it(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch()
    (tmp_path / "reboot.json").write_text('{"intent_id": "int-1", "boot_id": "the one before"}')
    Caring(tmp_path, monitor, GPUS, told.hear, simulated=False).repair(repair(Remedy.REBOOT))
    assert [(one.worked, one.detail) for one in told.repaired()] == [(True, "the machine was booted")]


@pytest.mark.parametrize("remedy", [Remedy.RESET_GPU, Remedy.REBOOT])
def test_a_machine_that_is_somebodys_own_is_not_touched(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path, remedy: Remedy
) -> None:
    Caring(tmp_path, watch(), GPUS, told.hear, simulated=False, shared=True).repair(repair(remedy))
    (answer,) = told.repaired()
    assert not answer.worked
    assert "not ours" in answer.detail
    assert not (tmp_path / "reboot.json").exists()


def test_without_rights_nothing_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caring, "_CONTAINER_SIGNS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRepair, match="not root"):
        caring.refuse_without_rights(shared=False)


def test_a_gpu_of_which_something_bad_stands_does_not_return(
    watch: Callable[..., Monitor], told: Told, tmp_path: Path
) -> None:
    monitor = watch()
    faults.inject(tmp_path, "row-remap-failure", 1)
    monitor.poll()
    carer = Caring(tmp_path, monitor, GPUS, told.hear, simulated=True)
    carer.check = lambda command: carer.hear(Checked(command.intent_id, passed=True))
    for index in (0, 1):
        order = RunChecks(intent_id=f"int-{index}", occasion="return", gpus=[index], budget_s=60.0, reason="return")
        carer.take(Check(order))
    passed = {one.intent_id: one.passed for one in told.events if isinstance(one, Checked)}
    assert passed == {"int-0": True, "int-1": False}


def test_the_page_of_checks_is_what_the_code_says() -> None:
    path = Path(__file__).parents[3] / "docs" / "health.md"
    written = "run python -m godwit.agents.checks.page > docs/health.md"
    assert path.read_text() == page.markdown(), written
