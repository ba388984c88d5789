"""Every class of fault shows to the check that is to find it, and to no other; and healthy GPUs show nothing."""

from collections.abc import Callable

import pytest
from godwit.agents.accelerators import faultlist, faults, profiles
from godwit.domain import drills
from godwit.domain.health import Grade, Remedy

from tests.agents.checks.conftest import Bench

Make = Callable[..., Bench]

SHOWS = {
    "gpu-lost": {"gpu:lost"},
    "gpu-missing": {"gpu:lost"},
    "gpu-reset-required": {"gpu:reset-required"},
    "ecc-uncorrected": {"ecc:uncorrected", "recovery:reset"},
    "ecc-uncontained": {"ecc:uncorrected"},
    "ecc-contained": set(),
    "ecc-corrected": {"ecc:corrected"},
    "sram-threshold": {"ecc:sram-threshold"},
    "ecc-off": {"ecc:off"},
    "row-remap-failure": {"row-remap:failure", "ecc:uncorrected"},
    "row-remap-pending": {"row-remap:pending"},
    "repair-pending": {"repair:pending"},
    "nvlink-fatal": {"nvlink:down"},
    "nvlink5-fatal": {"nvlink:down"},
    "nvlink-crc": {"nvlink:crc"},
    "nvlink-retries": {"nvlink:retries"},
    "thermal": {"clocks:hw-thermal", "temperature:slowdown"},
    "power-brake": {"clocks:power-brake"},
    "power-limit": {"power:limit"},
    "pcie-narrow": {"pcie:width"},
    "pcie-replays": set(),
    "pcie-fatal": set(),
    "fabric": {"fabric:unhealthy"},
    "peer-access": {"peer-access:broken"},
    "inforom": {"inforom:corrupted"},
    "recovery-reset": {"recovery:reset"},
    "recovery-reboot": {"recovery:reboot"},
    "leftovers": {"leftovers:memory"},
    "versions": {"versions:differ"},
    "slow": set(),
    "silent-corruption": set(),
    "driver-mismatch": {"driver:mismatch"},
    "switch-fatal": set(),
    "ib-flap": {"port:flap"},
    "ib-down": {"port:down"},
    "nic-dead": set(),
    "disk-full": {"disk:full"},
    "disk-errors": set(),
    "read-only": {"disk:read-only"},
    "out-of-memory": set(),
    "stuck-kernel": set(),
}
"""What polls find within ten minutes. Rates need time that passes, and have tests of their own."""

SAYS = {
    "gpu-lost": ["xid:79"],
    "ecc-uncorrected": ["xid:48"],
    "row-remap-failure": ["xid:48", "xid:64"],
    "nvlink-fatal": ["xid:74"],
    "nvlink5-fatal": ["xid:149"],
    "recovery-reset": ["xid:154"],
    "switch-fatal": ["sxid:20034"],
    "pcie-fatal": ["pcie-bus:fatal"],
    "nic-dead": ["network-card:dead"],
    "out-of-memory": ["memory:oom"],
    "read-only": ["filesystem:broken"],
    "stuck-kernel": ["kernel:stuck"],
    "xid-13": ["xid:13"],
    "thermal": [],
}

RATES = {"nvlink-crc", "nvlink-retries", "pcie-replays"}


@pytest.mark.parametrize("model", profiles.models())
def test_healthy_gpus_show_nothing(bench: Make, model: str) -> None:
    node = bench(model=model, gpus=2)
    assert node.poll(21) == []
    assert node.heard() == []


def test_every_fault_has_its_place_here() -> None:
    hanging = {"driver-hang"}
    assert set(SHOWS) == (set(faultlist.ON_GPU) | set(faultlist.ON_NODE)) - hanging


def test_every_drill_that_is_left_to_the_agent_is_a_fault_that_it_knows() -> None:
    left = set(drills.Drill) - drills.OF_THE_CLOUD - {drills.Drill.MEND}
    assert [drill for drill in sorted(left) if faultlist.named(drill) is None] == []


@pytest.mark.parametrize("fault", sorted(set(SHOWS) - RATES))
def test_a_fault_shows_to_the_check_that_looks_for_it(bench: Make, fault: str) -> None:
    node = bench()
    node.poll()
    faults.inject(node.folder, fault, 3)
    told = []
    for _ in range(21):  # the slowest rule takes 20 polls; what comes at once has also been told once by then
        told += node.poll()
        if len(told) >= len(SHOWS[fault]) and node.now > 1_200:
            break
    assert {found.code for found in told} == SHOWS[fault]
    on_gpu = fault in faultlist.ON_GPU and fault != "versions"
    assert {found.gpu for found in told} <= ({"GPU-3"} if on_gpu else {None})
    assert len(told) == len(SHOWS[fault]), "each is told once"


@pytest.mark.parametrize("fault", sorted(RATES - {"pcie-replays"}))
def test_counters_that_grow_are_rates(bench: Make, fault: str) -> None:
    node = bench()
    node.poll()
    faults.inject(node.folder, fault, 3)
    state = node.reader._nvml._over.setdefault(3, {})
    assert state == {}
    codes = set()
    for step in range(1, 5):
        call, value = next(iter(faultlist.ON_GPU[fault].values.items()))
        node.reader._nvml._refresh()
        node.reader._nvml._over = {3: {call: value["per_s"] * 30 * step}}
        codes |= {found.code for found in node.poll()}
    assert SHOWS[fault] <= codes


@pytest.mark.parametrize("fault", sorted(SAYS))
def test_a_fault_is_in_the_kernel_log_as_the_driver_says_it(bench: Make, fault: str) -> None:
    node = bench()
    faults.inject(node.folder, fault, 3)
    assert node.heard() == SAYS[fault]
    assert node.heard() == []


def test_what_a_reset_mends_is_over_after_it(bench: Make) -> None:
    node = bench()
    faults.inject(node.folder, "ecc-uncorrected", 3)
    assert {found.grade for found in node.poll()} == {Grade.UNHEALTHY}
    faults.reset(node.folder, [3])
    over = node.ledger.was_reset(["GPU-3"]) + node.poll()
    assert {(found.code, found.grade) for found in over} == {
        ("ecc:uncorrected", Grade.HEALTHY), ("recovery:reset", Grade.HEALTHY)
    }  # fmt: skip
    assert node.poll(5) == []


def test_what_only_the_vendor_mends_outlives_reset_and_reboot(bench: Make) -> None:
    node = bench()
    faults.inject(node.folder, "row-remap-failure", 3)
    (failure,) = [found for found in node.poll() if found.code == "row-remap:failure"]
    assert failure.suggested is Remedy.CONTACT_SUPPORT
    before = faults.boot_id(node.folder)
    faults.reset(node.folder, [3])
    faults.boot(node.folder)
    assert faults.boot_id(node.folder) != before
    assert faults.active(node.folder) == {3: {"row-remap-failure"}}


def test_a_gpu_that_an_attempt_holds_may_be_full(bench: Make) -> None:
    node = bench(held=[3])
    faults.inject(node.folder, "leftovers", 3)
    assert node.poll(10) == []


def test_a_machine_with_a_part_of_a_board_has_no_links_and_that_is_well(bench: Make) -> None:
    node = bench(gpus=1)
    dark = {f"nvmlDeviceGetNvLinkState({link})": 0 for link in range(18)}
    fabric = {"nvmlDeviceGetGpuFabricInfoV()": {"state": 1, "status": 0, "healthMask": 0, "healthSummary": 0}}
    node.reader._nvml._over = {0: {**dark, **fabric}}
    assert node.poll(6) == []


def test_links_that_were_up_and_are_all_down_are_a_finding(bench: Make) -> None:
    node = bench(gpus=1)
    node.poll()
    node.reader._nvml._over = {0: {f"nvmlDeviceGetNvLinkState({link})": 0 for link in range(18)}}
    assert [found.code for found in node.poll(2)] == ["nvlink:down"]


def test_a_dropped_file_is_a_fault_and_nonsense_is_put_aside(bench: Make) -> None:
    node = bench()
    drops = node.folder / "faults"
    (drops / "a.json").write_text('{"fault": "gpu-lost", "gpu": 2}')
    (drops / "b.json").write_text('{"fault": "driver-hang", "gpu": null}')
    assert len(faults.take_dropped(node.folder)) == 2
    assert faults.active(node.folder) == {2: {"gpu-lost"}, faults.NODE: {"driver-hang"}}
    assert list(drops.glob("*.json")) == []
    faults.mend(node.folder)
    assert faults.active(node.folder) == {}
    with pytest.raises(ValueError, match="no fault is called"):
        faults.inject(node.folder, "gremlins")
