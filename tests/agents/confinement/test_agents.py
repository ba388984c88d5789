"""Real agents that confine what they run: a replica that another agent ends, a dev environment that moves."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.confinement import confined
from godwit.agents.dev import terminals
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.dev import Desk
from godwit.domain.wire.replicas import Serve
from godwit.domain.wire.saving import Saving

from tests.agents.confinement import places
from tests.agents.dev.test_moving_homes import does, stop

pytestmark = [places.as_root, pytest.mark.e2e]

READS_DESK = f"open({terminals.__file__!r})"
"""The desk is a program of ours that runs as the attempt's user."""

SERVE = Serve.model_validate({"readiness": {"path": "/", "period_s": 0.2, "timeout_s": 5.0}})


@pytest.fixture
def confining(machines: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def boot(count: int = 1, needs: str = "") -> list[Any]:
        python = places.python_of_jobs(needs)
        return machines(count, more={"GODWIT_CONFINE": "require", "GODWIT_PYTHON": python})

    return boot


def test_a_replica_answers_is_saved_and_reads_nothing_of_its_agent(
    plane: Any, confining: Any, starts: Any, eventually: Any
) -> None:
    (machine,) = confining()
    assert plane.nodes[machine.name].join.confinement.startswith("user")
    program = f"""
        id -u; echo $HOME $USER; cat {machine.folder}/credential 2>&1
        echo weights >$GODWIT_CHECKPOINT_DIR/step-7
        exec python3 -m http.server $GODWIT_PORT --bind 0.0.0.0"""
    (command,) = starts([machine], program, serve=SERVE, saving=Saving(interval_s=0.2))
    plane.order(machine.name, command)
    eventually(lambda: plane.seen(machine.name, "replica-seen") or plane.end_of(machine.name), 60, "it answers")
    eventually(lambda: plane.seen(machine.name, "checkpoint-committed"), 60, "it is saved")
    folder = AttemptFolder(machine.folder, "att-1")
    how = confined.read(folder.root)
    text = eventually(lambda: (text := plane.text("att-1")).count("\n") >= 3 and text, 60)
    assert text.splitlines()[:2] == [str(how.uid), f"{folder.root}/home godwit-job"]
    assert "Permission denied" in text
    assert json.loads((machine.folder / "credential").read_text())["credential"] not in text
    machine.kill_agent()
    machine.boot()
    order = StopAttempt(intent_id="stop", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=2.0, reason="enough")
    plane.order(machine.name, order)
    assert eventually(lambda: plane.end_of(machine.name), 60, "another agent ends it").outcome == "cancelled"
    assert not [path for path in how.cgroups if Path(path).exists()]


@pytest.fixture
def desks(plane: Any, starts: Any, eventually: Any) -> Callable[..., None]:
    def start(machine: Any, epoch: int) -> None:
        plane.order(machine.name, *starts([machine], ":", epoch=epoch, desk=Desk(), saving=Saving(interval_s=3600.0)))
        eventually(lambda: plane.seen(machine.name, "attempt-running"), 60, "it runs")

    return start


def test_whoever_is_at_a_dev_environment_is_its_user(confining: Any, desks: Any, eventually: Any) -> None:
    (machine,) = confining(needs=READS_DESK)
    desks(machine, 1)
    uid = confined.read(AttemptFolder(machine.folder, "att-1").root).uid
    assert does(machine, f"[ $(id -u) = {uid} ] && echo x >~/mine", eventually) == 0
    assert does(machine, f"cat {machine.folder}/credential", eventually) == 1
    run = AttemptFolder(machine.folder, "att-1").run
    with socket.socket(socket.AF_UNIX) as elsewhere:  # as that of another project's environment
        elsewhere.bind(str(machine.folder / "theirs"))
        elsewhere.listen()
        (run / "desk.sock").rename(run / "own.sock")
        (run / "desk.sock").symlink_to(machine.folder / "theirs")
        with pytest.raises(PermissionError):
            terminals.connect(run.parent)


def test_a_home_is_the_next_users_on_the_next_node(plane: Any, confining: Any, desks: Any, eventually: Any) -> None:
    here, there = confining(2, needs=f"{READS_DESK}; import tarfile; tarfile.data_filter")
    desks(here, 1)
    assert does(here, "umask 022; mkdir -p ~/deep; id -u >~/deep/who", eventually) == 0
    assert stop(plane, here, eventually).outcome == "cancelled"
    desks(there, 2)
    mine = "[ -O ~/deep/who ] && [ $(cat ~/deep/who) != $(id -u) ] && echo x >>~/deep/who"
    assert does(there, mine, eventually, epoch=2) == 0
