"""Processes of a machine are found and ended wherever they went."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from godwit.domain.drills import Drill
from godwit.domain.wire.agents import GpuFact
from godwit.providers import hosted, processes
from godwit.providers.hosted import HostedMachines, host_mark, network_of
from godwit.providers.machines import Machine

from tests.providers.waiting import until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostedMachines]:
    machines = HostedMachines(tmp_path)
    yield machines
    for instance_id in machines.known():
        machines.cut(instance_id)
    until(lambda: not machines.known())
    assert not machines.run_dir.exists()


def machine(script: str, instance_id: str = "i-1", slot: str = "1-1") -> Machine:
    return Machine(
        instance_id, slot, "127.16.1.1", script, (GpuFact(index=0, uuid="GPU-1", model="L40S", memory_gib=48),)
    )


RENAMED = """
import ctypes, time
fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
arg_start, env_end = int(fields[45]), int(fields[48])  # proc(5), fields 48 and 51
# What a title setter does: the title goes over argv and the environment behind it.
ctypes.memmove(arg_start, b"ray::IDLE".ljust(env_end - arg_start, bytes(1)), env_end - arg_start)
print("renamed", flush=True)
time.sleep(1000)
"""


def test_a_process_that_overwrote_its_environment_dies_with_the_machine(host: HostedMachines, tmp_path: Path) -> None:
    program = tmp_path / "renamed.py"
    program.write_text(RENAMED)
    host.boot(machine(f"{sys.executable} {program} & wait\n"))
    log = tmp_path / "boot_logs" / "i-1.log"
    until(lambda: "renamed" in log.read_text())
    where = host.whereabouts("i-1")
    assert where is not None
    assert where.pid is not None
    family = psutil.Process(where.pid).children(recursive=True)
    assert any(processes.MARK not in process.environ() for process in family), "one has lost the mark"
    host.cut("i-1")
    until(lambda: host.is_gone("i-1"))
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_booting_twice_starts_one_machine(host: HostedMachines) -> None:
    host.boot(machine("sleep 1000\n"))
    first = host.whereabouts("i-1")
    host.boot(machine("sleep 1000\n"))
    assert host.whereabouts("i-1") == first


def test_a_new_process_of_ours_finds_the_machine_and_ends_it(host: HostedMachines, tmp_path: Path) -> None:
    host.boot(machine("sleep 1000\n"))
    successor = HostedMachines(tmp_path)
    assert successor.known() == ["i-1"]
    assert not successor.has_crashed("i-1")
    successor.stop("i-1")
    until(lambda: successor.is_gone("i-1"))
    until(lambda: host.has_crashed("i-1"))


def test_an_end_that_was_under_way_is_finished_by_our_successor(tmp_path: Path, host: HostedMachines) -> None:
    host.boot(machine("trap '' TERM; while :; do sleep 1; done\n"))
    record = tmp_path / "machines" / "i-1.json"
    record.write_text(record.read_text().replace('"ending": null', '"ending": "cut"'))
    successor = HostedMachines(tmp_path)
    until(lambda: successor.is_gone("i-1"))


def test_a_boot_that_we_died_in_is_begun_again_from_nothing(host: HostedMachines, tmp_path: Path) -> None:
    host.boot(machine("sleep 1000\n"))
    old = host.whereabouts("i-1")
    record = tmp_path / "machines" / "i-1.json"
    before, _, _ = record.read_text().partition('"first"')
    record.write_text(before + '"first": null, "ending": null}')
    successor = HostedMachines(tmp_path)
    successor.boot(machine("sleep 1000\n"))
    new = successor.whereabouts("i-1")
    assert old is not None
    assert new is not None
    assert new.pid != old.pid
    until(lambda: not psutil.pid_exists(old.pid or 0) or psutil.Process(old.pid).status() == psutil.STATUS_ZOMBIE)
    successor.cut("i-1")
    until(lambda: successor.is_gone("i-1"))


def test_cutting_the_power_does_not_wait_for_a_shutdown_under_way(host: HostedMachines) -> None:
    host.boot(machine("trap '' TERM; while :; do sleep 1; done\n"))
    began = time.monotonic()
    host.stop("i-1")
    host.cut("i-1")
    until(lambda: host.is_gone("i-1"))
    assert time.monotonic() - began < hosted.STOP_GRACE_S


def test_the_end_of_one_machine_leaves_the_others_alone(host: HostedMachines) -> None:
    host.boot(machine("sleep 1000\n"))
    host.boot(machine("sleep 1000\n", "i-2", "1-2"))
    host.cut("i-1")
    until(lambda: host.is_gone("i-1"))
    assert not host.has_crashed("i-2")
    assert host.known() == ["i-2"]


def test_our_own_process_is_never_a_member() -> None:
    child = subprocess.Popen(["sleep", "1000"], env={processes.MARK: "mark-of-a-test"})
    try:
        until(lambda: child.pid in [p.pid for p in processes.members("mark-of-a-test")])
        processes.end("mark-of-a-test")  # it shares our session, which does not make us one of its machine
        assert child.wait(5) == -9
    finally:
        child.kill()


def test_a_log_that_grows_is_cut_down_to_its_last_half(tmp_path: Path) -> None:
    log = tmp_path / "boot.log"
    log.write_text("x" * 900 + "the end")
    processes.keep_tail(log, limit_bytes=400)
    assert len(log.read_text()) == 200
    assert log.read_text().endswith("the end")


def test_two_homes_do_not_share_marks_and_hardly_ever_networks(tmp_path: Path) -> None:
    homes = [tmp_path / str(n) for n in range(40)]
    assert len({host_mark(home) for home in homes}) == 40
    networks = {network_of(home, index) for home in homes for index in range(8)}
    assert len(networks) > 300
    for network in networks:
        first, second, third = map(int, network.split("."))
        assert first == 127
        assert 16 <= second <= 215
        assert 0 <= third <= 247
    with pytest.raises(ValueError, match="eight networks"):
        network_of(tmp_path, 8)


def test_a_fault_is_left_for_the_agent_in_the_machines_folder(host: HostedMachines) -> None:
    host.boot(machine("sleep 1000\n"))
    where = host.whereabouts("i-1")
    assert where is not None
    for kind, gpu in ((Drill.GPU_LOST, 0), (Drill.DISK_FULL, None)):
        host.drill("i-1", kind, gpu)
    left = {path.name: json.loads(path.read_text()) for path in (Path(where.folder) / "faults").iterdir()}
    assert left == {
        "gpu-lost-0.json": {"fault": "gpu-lost", "gpu": 0}, "disk-full.json": {"fault": "disk-full", "gpu": None},
    }  # fmt: skip
    host.drill("i-unknown", Drill.DISK_FULL, None)


def test_only_the_agent_dies_when_it_is_the_agent_that_is_lost(host: HostedMachines, tmp_path: Path) -> None:
    package = tmp_path / "godwit"
    package.mkdir()
    (package / "agents.py").write_text("import time\ntime.sleep(1000)\n")
    start = f"PYTHONPATH={tmp_path} {sys.executable} -m godwit.agents"
    host.boot(machine(f"{start}; echo died; {start} & sleep 1000\n"))
    log = tmp_path / "boot_logs" / "i-1.log"

    def agents() -> list[int]:
        where = host.whereabouts("i-1")
        assert where is not None
        assert where.pid is not None
        family = psutil.Process(where.pid).children(recursive=True)
        return [process.pid for process in family if "godwit.agents" in process.cmdline()]

    until(lambda: bool(agents()))
    (first,) = agents()
    host.drill("i-1", Drill.AGENT_LOSS, None)
    until(lambda: "died" in log.read_text() and len(agents()) == 1)
    assert agents() != [first]
    assert not host.has_crashed("i-1")
