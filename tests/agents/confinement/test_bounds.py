"""What an attempt may take of its node, and what is said when it wants more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.confinement import cgroups, confined, keeper, memory
from godwit.agents.confinement.cgroups import Bounds, Tree
from godwit.agents.confinement.keeper import Keeper, Machine
from godwit.agents.confinement.memory import Spent
from godwit.agents.effects import Stopped
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.confinement import places
from tests.agents.confinement.places import Attempt

Make = Callable[..., Attempt]
GIB = 1 << 30
V2 = "36 25 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "40 25 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 25 0:34 /docker/ab /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "42 25 0:35 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def test_version_2_is_one_hierarchy_and_its_own_group_is_found() -> None:
    assert cgroups.trees(V2, "0::/system.slice/godwit-agent.service\n") == [
        Tree(2, Path("/sys/fs/cgroup/system.slice/godwit-agent.service"), frozenset())
    ]


def test_version_1_has_a_hierarchy_for_each_and_a_container_sees_a_part_of_it() -> None:
    said = "4:memory:/jobs\n8:pids:/docker/ab/inner\n1:cpu,cpuacct:/\n9:name=systemd:/x\n0::/\n"
    assert cgroups.trees(V1, said) == [
        Tree(1, Path("/sys/fs/cgroup/memory/jobs"), frozenset({"memory"})),
        Tree(1, Path("/sys/fs/cgroup/pids/inner"), frozenset({"pids"})),
        Tree(1, Path("/sys/fs/cgroup/cpu,cpuacct"), frozenset({"cpu"})),
    ]


@pytest.mark.parametrize("said", ["", "nonsense", "36 25 0:31 / /mnt rw - tmpfs tmpfs rw\n"])
def test_without_any_there_is_none(said: str) -> None:
    assert cgroups.trees(said, "") == []


def test_in_version_2_controllers_are_handed_down_to_attempts(tmp_path: Path) -> None:
    # A plain folder takes what the kernel's would; what a kernel refuses is tried where there is one.
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tree,) = cgroups.prepare([Tree(2, tmp_path, frozenset())])
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    (made,) = cgroups.make([tree], "att-1", Bounds(2 * GIB, 500, 0.25))
    assert {name: (Path(made) / name).read_text() for name in ("memory.max", "pids.max", "cpu.weight")} == {
        "memory.max": str(2 * GIB), "pids.max": "500", "cpu.weight": "25",
    }  # fmt: skip


def test_a_hierarchy_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    assert cgroups.prepare([Tree(1, tmp_path / "missing", frozenset({"memory"}))]) == []


@given(
    memory_bytes=st.integers(GIB, 4096 * GIB),
    gpus=st.integers(0, 8),
    held=st.integers(0, 8),
    milli=st.sampled_from([250, 500, 1000]),
)
def test_attempts_that_hold_all_gpus_together_leave_the_agent_its_memory(
    memory_bytes: int, gpus: int, held: int, milli: int
) -> None:
    held = min(held, gpus)
    wanted = places.command("att-1", gpus=list(range(held)), gpu_milli=milli)
    bound = keeper.bounds(Machine(memory_bytes, 1000, gpus), wanted)
    part = held * milli / 1000 / gpus if held else 1.0
    assert bound.memory_bytes <= memory_bytes * part + 1
    assert bound.memory_bytes >= memory_bytes * part / 2 - 1
    if part == 1.0:
        assert memory_bytes - bound.memory_bytes >= min(keeper.RESERVED_MIN_BYTES, memory_bytes // 2)


def test_a_kill_for_want_of_memory_is_part_of_the_reason_and_says_what_to_do() -> None:
    end = Stopped("att-1", "failed", 137, "exit code 137")
    said = memory.explained(end, Spent(2 * GIB, 1)).detail
    assert said.startswith(
        "exit code 137; out of memory: the kernel ended a process of the attempt at its bound of 2.0 GiB"
    )
    assert "use less" in said
    assert memory.explained(end, Spent(2 * GIB, 0)) == end
    well = Stopped("att-1", "succeeded", 0, "exit code 0")
    assert memory.explained(well, Spent(2 * GIB, 3)) == well


def with_trees(found: Keeper, controller: str, machine: Machine) -> Keeper:
    if not any(controller in tree.controllers for tree in found.trees):
        pytest.skip(f"no cgroup with {controller} can be made here: {found.words}")
    return Keeper(found.ids, found.groups, found.trees, machine)


@places.as_root
def test_memory_beyond_the_bound_is_refused_by_the_kernel_and_counted(
    attempts: Make, found: Keeper, eventually: Callable[..., Any]
) -> None:
    by = with_trees(found, "memory", Machine(256 << 20, 1000, 1))
    attempt = attempts(by=by)
    python = places.python_of_jobs()
    attempt.start(f"{python} -c 'held = bytearray(600 << 20)'; code=$?; echo ended with $code; exit $code")
    record = eventually(attempt.custody.ended, 60)
    assert record.exit_code == 137, attempt.said()
    assert attempt.custody.spent.kills >= 1
    assert attempt.custody.spent.memory_bytes == 128 << 20


@places.as_root
def test_processes_without_end_come_to_one(attempts: Make, found: Keeper, eventually: Callable[..., Any]) -> None:
    attempt = attempts(by=with_trees(found, "pids", Machine(4 * GIB, 40, 1)))
    attempt.start("for i in $(seq 100); do sleep 300 & done; exit 0")
    assert eventually(attempt.custody.ended, 60).exit_code != 0, "a fork was refused"


@places.as_root
def test_its_group_is_gone_with_it(attempts: Make, found: Keeper, eventually: Callable[..., Any]) -> None:
    if not found.trees:
        pytest.skip(f"no cgroup can be made here: {found.words}")
    attempt = attempts()
    groups = [Path(folder) for folder in confined.read(attempt.folder.root).cgroups]
    assert [path.parent for path in groups] == [tree.own / cgroups.GROUP for tree in found.trees]
    assert all(path.exists() for path in groups)
    attempt.start("cat /proc/self/cgroup")
    eventually(attempt.custody.ended, 30)
    assert attempt.said().count(groups[0].name) == len(groups)
    assert not [path for path in groups if path.exists()]
