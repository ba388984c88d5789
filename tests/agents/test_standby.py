"""A Ray that stands by: taken once, by an attempt that fits; and never left behind, whoever dies."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from godwit.agents.runtime import standby
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder, StoodBy
from godwit.agents.runtime.guard import boottime_s, write_whole
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.standby_keeper import KEEP_BYTES, START_BYTES, StandbyKeeper
from godwit.domain.wire.agents import Peer, StartAttempt

RAY = "#!/bin/sh\necho Ray runtime started\n(setsid sleep 300 &)\nexec sleep 300\n"
"""In Ray's place: it says what Ray says, and leaves a process of its own session behind, as Ray's helpers are."""


def start(name: str = "att-1", **more: Any) -> StartAttempt:
    fields: dict[str, Any] = {
        "job_id": "job-1", "job_name": "a", "epoch": 1, "rank": 0, "gpus": [0, 1], "port": 20_000, "run": "true",
        "peers": [Peer(rank=0, node_id="node-0", address="127.0.0.1")], "ray_token": "theirs", "setup": None,
        "workdir_digest": None, "env": {"WANDB_MODE": "offline"}, "store": "file:///store",
    }  # fmt: skip
    return StartAttempt(intent_id=f"start-{name}", attempt_id=name, **(fields | more))


class House:
    """A node's folder with a lease, and a keeper whose surroundings the test holds in its hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lease_path = folder, folder / "lease"
        (folder / "bin").mkdir()
        self.ray(RAY)
        self.facts = NodeFacts("127.0.0.1", 2, str(folder / "bin" / "python"), simulated=True)
        self.idle, self.free_bytes, self.lock = True, START_BYTES, threading.Lock()
        self.keepers: list[StandbyKeeper] = []
        self.lease(60.0)

    def ray(self, script: str) -> None:
        (self.folder / "bin" / "ray").write_text(script)
        (self.folder / "bin" / "ray").chmod(0o755)

    def lease(self, seconds: float) -> None:
        write_whole(self.lease_path, f"{boottime_s() + seconds} boot")

    def keeper(self, *, wanted: bool = True) -> StandbyKeeper:
        keeper = StandbyKeeper(
            self.folder, self.lease_path, self.facts, [0, 1], self.is_idle, wanted=wanted,
            free_bytes=lambda: self.free_bytes,
        )  # fmt: skip
        self.keepers.append(keeper)
        keeper.start()
        return keeper

    def is_idle(self) -> bool:
        with self.lock:
            return self.idle

    def take(self, keeper: StandbyKeeper, command: StartAttempt) -> Custody | None:
        """As a node does: it is not idle any more from the moment of the start on."""
        with self.lock:
            custody = keeper.take(command)
            self.idle = custody is None
            return custody

    def left_behind(self) -> AttemptFolder:
        """What a killed agent leaves: the folder of one that stands by, and nobody who knows of it."""
        folder = AttemptFolder(self.folder, "ray-1", standby.SHELF)
        folder.make()
        stood_by = StoodBy(30_000, "ours", str(folder.ray), str(folder.run))
        write_whole(folder.root / "standby.json", json.dumps(vars(stood_by)))
        command = standby.composed("ray-1", stood_by, self.facts, [0, 1])
        environment = standby.environment(command, folder, self.facts, os.environ)
        Custody(folder, self.lease_path).start(standby.steps(command, folder, self.facts), environment)
        return folder

    def standing(self) -> list[AttemptFolder]:
        """What stands by and has said that it is up."""
        names = [path.name for path in (self.folder / standby.SHELF).glob("*")]
        folders = [AttemptFolder(self.folder, name, standby.SHELF) for name in names]
        return [folder for folder in folders if folder.guarded and folder.ray_is_up()]

    def processes(self) -> list[psutil.Process]:
        """All that runs below this folder: guards, Rays and what these left behind."""
        found = []
        for process in psutil.process_iter():
            try:
                mark = process.environ().get("GODWIT_RUN_DIR", "")
                if mark.startswith(str(self.folder)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    for keeper in house.keepers:
        keeper.close()
    for process in house.processes():
        process.kill()


def test_an_idle_node_keeps_one_and_an_attempt_takes_it_with_guard_and_folder(
    house: House, eventually: Callable[..., Any]
) -> None:
    keeper = house.keeper()
    (before,) = eventually(house.standing)
    stood_by, guard = before.stood_by(), (before.root / "guard.pid").read_text()
    assert stood_by is not None
    custody = eventually(lambda: house.take(keeper, start()))
    folder = AttemptFolder(house.folder, "att-1")
    assert not before.root.exists()
    assert (folder.stood_by(), str(folder.ray), folder.guarded) == (stood_by, stood_by.ray, True)
    assert StartAttempt.model_validate_json(folder.command_path.read_text()) == start()
    assert not folder.gpus_were_tried, "that comes before any program, and is yet to come"
    assert (folder.root / "guard.pid").read_text() == guard
    custody.stop(0.0)
    assert eventually(custody.ended).cause == "stopped"
    eventually(lambda: not house.processes(), 10, "the guard leaves right after its last word")


def test_it_is_taken_once(house: House, eventually: Callable[..., Any]) -> None:
    keeper = house.keeper()
    eventually(house.standing)
    custody = eventually(lambda: house.take(keeper, start()))
    assert keeper.take(start()) is None, "it is the attempt's already"
    assert keeper.take(start("att-2")) is None
    assert not (house.folder / "attempts" / "att-2").exists()
    custody.stop(0.0)
    eventually(custody.ended)
    house.idle = True
    keeper.look()
    (fresh,) = eventually(house.standing)
    taken = AttemptFolder(house.folder, "att-1").stood_by()
    assert taken is not None
    assert fresh.stood_by().token != taken.token


def test_what_does_not_fit_makes_it_go(house: House, eventually: Callable[..., Any]) -> None:
    keeper = house.keeper()
    eventually(house.standing)
    house.idle = False
    assert keeper.take(start(gpus=[0])) is None
    keeper.look()
    eventually(lambda: not house.processes())


@pytest.mark.parametrize("why", ["memory", "reset", "going", "closed"])
def test_it_makes_room(house: House, eventually: Callable[..., Any], why: str) -> None:
    keeper = house.keeper()
    eventually(house.standing)
    if why == "memory":
        house.free_bytes = KEEP_BYTES - 1
        keeper.look()
    elif why == "going":
        keeper.retire()
    elif why == "closed":
        keeper.close()
    else:
        with keeper.away():
            eventually(lambda: not house.processes(), 10, "but for the guard, which leaves, they are gone by now")
            keeper.look()
        eventually(house.standing)
        return
    eventually(lambda: not house.processes())
    house.free_bytes = START_BYTES - 1
    keeper.look()
    eventually(lambda: not list((house.folder / standby.SHELF).iterdir()))
    assert house.processes() == []


def test_it_dies_with_the_lease_though_nobody_else_lives(house: House, eventually: Callable[..., Any]) -> None:
    eventually(house.left_behind().ray_is_up)
    house.lease(-1.0)
    eventually(lambda: not house.processes())


@pytest.mark.parametrize("guard_too", [False, True])
def test_the_next_agent_ends_what_a_killed_one_left_standing(
    house: House, eventually: Callable[..., Any], *, guard_too: bool
) -> None:
    folder = house.left_behind()
    eventually(folder.ray_is_up)
    if guard_too:
        os.kill(int((folder.root / "guard.pid").read_text()), signal.SIGKILL)
    house.keeper(wanted=False)
    eventually(lambda: not folder.root.exists())
    eventually(lambda: not house.processes(), 10, "the guard leaves right after its last word")


def test_when_the_guard_of_one_that_was_taken_is_killed_its_processes_are_still_known(
    house: House, eventually: Callable[..., Any]
) -> None:
    keeper = house.keeper()
    eventually(house.standing)
    custody = eventually(lambda: house.take(keeper, start()))
    folder = AttemptFolder(house.folder, "att-1")
    os.kill(int((folder.root / "guard.pid").read_text()), signal.SIGKILL)
    assert eventually(custody.ended).cause == "guard-died"
    assert house.processes() == []


def test_a_ray_that_ends_by_itself_is_not_handed_out_and_is_not_tried_again_at_once(
    house: House, eventually: Callable[..., Any]
) -> None:
    tries = house.folder / "tries"
    house.ray(f"#!/bin/sh\necho once >>{tries}\nexit 1\n")
    keeper = house.keeper()
    eventually(tries.exists)

    def is_cleared() -> bool:
        keeper.look()
        return not list((house.folder / standby.SHELF).iterdir())

    eventually(is_cleared)
    for _ in range(20):
        keeper.look()
        time.sleep(0.01)  # nothing tells that a keeper leaves things as they are
    assert keeper.take(start()) is None
    assert tries.read_text() == "once\n"


def test_without_a_lease_or_where_it_is_not_wanted_nothing_stands_by(
    house: House, eventually: Callable[..., Any]
) -> None:
    house.lease(-1.0)
    leaseless, unwanted = house.keeper(), house.keeper(wanted=False)
    leaseless.close()
    unwanted.close()
    assert not list((house.folder / standby.SHELF).glob("*"))
