"""A home goes from node to node through real agents: told to stop, cut off, or with its agent killed in between."""

import json
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from godwit.agents.dev import terminals
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.dev import Desk
from godwit.domain.wire.saving import Saving

Eventually = Callable[..., Any]


@pytest.fixture
def boxes(plane: Any, starts: Callable[..., Any], eventually: Eventually) -> Callable[..., None]:
    """Starts an environment on a machine and waits until it runs; its home is looked at five times a second."""

    def start(machine: Any, epoch: int = 1, interval_s: float = 0.2) -> None:
        plane.order(
            machine.name, *starts([machine], ":", epoch=epoch, desk=Desk(), saving=Saving(interval_s=interval_s))
        )
        eventually(lambda: plane.seen(machine.name, "attempt-running"), 60, "it runs")

    return start


def does(machine: Any, script: str, eventually: Eventually, epoch: int = 1) -> int:
    """The exit code of a script in the environment."""
    folder = AttemptFolder(machine.folder, f"att-{epoch}").root

    def asked() -> socket.socket | None:
        try:
            return terminals.connect(folder)
        except OSError:
            return None

    with eventually(asked, 60, "the desk listens") as desk:
        desk.settimeout(60)
        wanted = {"argv": ["sh", "-c", script], "tty": False, "rows": 24, "cols": 80, "term": "xterm"}
        desk.sendall(json.dumps(wanted).encode() + b"\n")
        _, ends, _, _ = socket.recv_fds(desk, 4096, 2)
        with open(ends[0], "wb"), open(ends[1], "rb") as out:
            out.read()
        return int(json.loads(desk.recv(4096))["exit"])


def stop(plane: Any, machine: Any, eventually: Eventually, epoch: int = 1) -> Any:
    """The end of an environment that is told to stop, and told again."""
    for number in (1, 2):
        plane.order(
            machine.name,
            StopAttempt(
                intent_id=f"stop-{epoch}-{number}", job_id="job-1", attempt_id=f"att-{epoch}", epoch=epoch,
                grace_s=60.0, reason="it moves",
            ),
        )  # fmt: skip
    return eventually(lambda: plane.end_of(machine.name, f"att-{epoch}"), 60, "it ended")


MAKES = "mkdir -p ~/deep/er; echo kept > ~/deep/er/note; chmod 640 ~/deep/er/note; ln -s deep/er/note ~/link"
HAS = '[ "$(cat ~/link)" = kept ] && [ "$(stat -c %a ~/deep/er/note)" = 640 ]'


def test_a_home_is_there_on_the_next_node_when_it_is_told_to_stop(
    plane: Any, machines: Any, boxes: Any, eventually: Eventually
) -> None:
    here, there = machines(2)
    boxes(here, interval_s=3600.0)
    assert does(here, MAKES, eventually) == 0
    assert stop(plane, here, eventually).outcome == "cancelled"
    assert len(plane.seen(here.name, "checkpoint-committed")) == 1
    boxes(there, epoch=2)
    assert does(there, HAS, eventually, epoch=2) == 0
    (restored,) = plane.seen(there.name, "checkpoint-restored")
    assert restored.from_epoch == 1


def test_a_home_outlives_its_machine_by_what_was_saved_while_it_ran(
    plane: Any, machines: Any, boxes: Any, eventually: Eventually
) -> None:
    here, there = machines(2)
    boxes(here)
    assert does(here, MAKES, eventually) == 0
    assert does(here, "echo later > ~/later", eventually) == 0
    folder = AttemptFolder(here.folder, "att-1").checkpoints
    begun = max((int(path.name.split("-")[1].split(".")[0]) for path in folder.glob("checkpoint-*")), default=0)
    # One more save may have looked at the home before the file was there; the one after that cannot.
    eventually(partial(_saved, plane, here, begun + 2, eventually), 60, "it is saved")
    here.cut_power()
    boxes(there, epoch=2)
    assert does(there, f"{HAS} && grep -q later ~/later", eventually, epoch=2) == 0


def _saved(plane: Any, machine: Any, step: int, eventually: Eventually) -> bool:
    """Whether so late a save is in the store; the home changes meanwhile, so that there is something to save."""
    does(machine, "date +%N > ~/changes", eventually)
    return any(one.step >= step for one in plane.seen(machine.name, "checkpoint-committed"))


def test_an_agent_that_is_killed_takes_nothing_with_it(
    plane: Any, machines: Any, boxes: Any, eventually: Eventually
) -> None:
    here, there = machines(2)
    boxes(here, interval_s=3600.0)
    assert does(here, MAKES, eventually) == 0
    here.kill_agent()
    assert does(here, HAS, eventually) == 0, "the environment runs on"
    here.boot()
    assert stop(plane, here, eventually).outcome == "cancelled"
    boxes(there, epoch=2)
    assert does(there, HAS, eventually, epoch=2) == 0
