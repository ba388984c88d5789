"""What a program may not do to its node and to the programs beside it, tried by programs that try."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.runtime import processes
from godwit.agents.runtime.custody import Custody

from tests.agents.confinement import places
from tests.agents.confinement.places import Attempt

pytestmark = places.as_root

Make = Callable[..., Attempt]


def ran(attempt: Attempt, script: str, eventually: Callable[..., Any], code: int = 0) -> str:
    attempt.start(script)
    record = eventually(attempt.custody.ended, 30)
    assert (record.cause, record.exit_code) == ("ended", code), attempt.said()
    return attempt.said()


def test_a_program_has_a_user_of_its_own_and_no_way_back(attempts: Make, eventually: Callable[..., Any]) -> None:
    one, two = attempts("att-1"), attempts("att-2")
    said = ran(one, "id -u; id -G; umask; cat /proc/self/status", eventually).split("\n", 3)
    assert said[0] == str(one.uid()) != str(two.uid())
    assert said[1].split()[0] == said[0], "the group is the user's own"
    assert said[2] == "0077"
    status = dict(line.split(":\t", 1) for line in said[3].splitlines() if ":\t" in line)
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {kind: int(status[kind], 16) for kind in kinds} == dict.fromkeys(kinds, 0)
    assert status["NoNewPrivs"] == "1"


def test_it_writes_where_it_works_and_nowhere_else(
    attempts: Make, node_dir: Path, eventually: Callable[..., Any]
) -> None:
    script = """
        for place in workdir run checkpoints home; do echo x >$ROOM/$place/mine || echo lost $place; done
        for place in $ROOM $ROOM/.. $ROOM/../.. /etc /usr/bin; do
            (echo x >$place/godwit-theirs) 2>/dev/null && echo wrote $place
        done
        mv $ROOM/run $ROOM/gone 2>/dev/null && echo moved
        true"""
    attempt = attempts()
    assert ran(attempt, script, eventually) == ""
    assert (attempt.folder.checkpoints / "mine").stat().st_mode & 0o777 == 0o600


def test_it_goes_on_in_the_log_that_the_agent_began(attempts: Make, eventually: Callable[..., Any]) -> None:
    attempt = attempts()
    attempt.folder.notice("restored")
    ran(attempt, "echo mine >>$ROOM/output.log; rm -f $ROOM/output.log 2>/dev/null; true", eventually)
    assert attempt.said() == "[godwit] restored\nmine\n"


def test_it_cannot_read_what_the_agent_keeps(attempts: Make, node_dir: Path, eventually: Callable[..., Any]) -> None:
    (node_dir / "credential").write_text("agent's word")
    (node_dir / "kept").mkdir()
    (node_dir / "kept" / "model").write_text("agent's word")
    script = f"""
        cat {node_dir}/credential {node_dir}/kept/model $ROOM/confined.json $ROOM/steps.json 2>/dev/null
        ls {node_dir} $ROOM 2>/dev/null
        cat /proc/{os.getpid()}/environ /proc/{os.getpid()}/mem 2>/dev/null; true"""
    assert ran(attempts(), script, eventually) == ""


def test_it_reaches_neither_the_agent_nor_another_attempt(attempts: Make, eventually: Callable[..., Any]) -> None:
    other = attempts("att-2")
    other.start("echo secret >mine; echo $$ >$GODWIT_RUN_DIR/pid; sleep 300")
    eventually(lambda: (other.folder.run / "pid").exists() and (other.folder.run / "pid").read_text())
    pid, guard_pid = (other.folder.run / "pid").read_text().strip(), (other.folder.root / "guard.pid").read_text()
    script = f"""
        for pid in {os.getpid()} {pid} {guard_pid} $PPID; do kill -0 $pid 2>/dev/null && echo may signal $pid; done
        cat {other.folder.workdir}/mine /proc/{pid}/environ /proc/{pid}/mem 2>/dev/null
        ls {other.folder.workdir} /proc/{pid}/fd {other.folder.root} 2>/dev/null; true"""
    assert ran(attempts("att-1"), script, eventually) == ""
    assert Path(f"/proc/{pid}").exists()


def test_a_program_that_belongs_to_root_makes_nobody_root(
    attempts: Make, node_dir: Path, eventually: Callable[..., Any]
) -> None:
    setuid = node_dir / "id"
    shutil.copy("/usr/bin/id", setuid)
    setuid.chmod(0o4755)
    attempt = attempts()
    usual = subprocess.run([setuid], user=attempt.uid(), capture_output=True, text=True, check=True).stdout
    if "euid=0" not in usual:
        pytest.skip("this disk is mounted nosuid: nothing on it makes anybody root")
    assert "euid" not in ran(attempt, str(setuid), eventually)


@pytest.mark.parametrize("by", ["user", "cgroup"])
def test_what_forked_away_ends_with_its_attempt_though_its_guard_was_killed(
    attempts: Make, found: Any, eventually: Callable[..., Any], by: str
) -> None:
    if by == "cgroup" and not found.trees:
        pytest.skip("no cgroups can be made here")
    kept = {"ids": found.ids} if by == "user" else {"trees": found.trees, "machine": found.machine}
    attempt = attempts("att-1", by=type(found)(**kept))
    # It forgets the mark by which strays are known, and its parents.
    attempt.start("(env -i setsid sh -c 'echo $$ >'$GODWIT_RUN_DIR'/away; sleep 300' &) ; sleep 300")
    pid = int(eventually(lambda: (path := attempt.folder.run / "away").exists() and path.read_text()))
    os.kill(int((attempt.folder.root / "guard.pid").read_text()), signal.SIGKILL)
    assert eventually(attempt.custody.ended, 20).cause == "guard-died"
    assert processes.status(pid).partition("State:")[2].lstrip()[:1] in {"", "Z"}
    assert Custody(attempt.folder, Path("/nowhere")).ended() is not None, "another agent may do it again"


def test_what_it_left_where_all_may_write_goes_with_it(attempts: Make, eventually: Callable[..., Any]) -> None:
    left = Path("/tmp") / f"gwc-left-{os.getpid()}"
    ran(attempts(), f"mkdir {left}; echo x >{left}/mine; ln -s /etc {left}/link", eventually)
    assert not left.exists()
    assert Path("/etc/passwd").exists()


def test_a_pipe_where_a_pid_should_be_holds_no_guard_up(attempts: Make, eventually: Callable[..., Any]) -> None:
    attempt = attempts()
    attempt.start("mkfifo $GODWIT_RUN_DIR/program.pid && sleep 300")
    eventually((attempt.folder.run / "program.pid").exists)
    attempt.custody.stop(1.0)
    assert eventually(attempt.custody.ended, 10).cause == "stopped"


@pytest.mark.parametrize("name", ["saver.pid", "program.pid"])
def test_whoever_it_names_in_place_of_itself_hears_no_signal(
    attempts: Make, eventually: Callable[..., Any], name: str
) -> None:
    told = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(15, lambda *_: exit(7)); print(1, flush=True); signal.pause()",
        ],
        stdout=subprocess.PIPE,
    )
    assert told.stdout is not None
    told.stdout.readline()
    attempt = attempts()
    attempt.start(f"echo {told.pid} >$GODWIT_RUN_DIR/{name}; touch $GODWIT_RUN_DIR/ready; sleep 300")
    eventually((attempt.folder.run / "ready").exists)
    attempt.custody.stop(0.5)
    eventually(attempt.custody.ended, 10)
    assert told.poll() is None
    told.kill()
    told.communicate()
