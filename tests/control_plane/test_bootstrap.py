"""The startup script, run by the shells that machines have, with an agent that is a stub."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from godwit.control_plane.executors.bootstrap import startup_script

SHELLS = [shell for shell in (["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]
TIGHTEST_CHARACTERS = 4_048
"""Vast.ai's `onstart`."""

AGENT = """#!/bin/sh
case $1 in
  -m) echo "$GODWIT_URL|$GODWIT_JOIN_TOKEN|$GODWIT_NODE_DIR|$GODWIT_NODE_ADDRESS" >>{runs}
      [ "$(wc -l <{runs})" -ge {well_at} ] ;;
  -c) case $2 in *godwit.agents*) {importing} ;; *) echo 10.1.2.3 ;; esac ;;
esac
"""


class Machine:
    """A machine whose Python is a stub: its agent ends well at the n-th start."""

    def __init__(self, folder: Path, well_at: int = 1, importing: str = "exit 0") -> None:
        self._runs, self._home = folder / "runs", folder / "home"
        self._home.mkdir()
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._tool("python3", AGENT.format(runs=self._runs, well_at=well_at, importing=importing))
        self._tool("sleep", "#!/bin/sh\nexit 0\n")

    def _tool(self, name: str, script: str) -> None:
        (self._bin / name).write_text(script)
        (self._bin / name).chmod(0o755)

    def boot(self, shell: list[str], script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the script as a machine does: nearly no environment, nothing to read."""
        plain = {"PATH": f"{self._bin}:/usr/bin:/bin", "HOME": str(self._home), **environment}
        return subprocess.run(
            [*shell, "-c", script], env=plain, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    @property
    def runs(self) -> list[list[str]]:
        """What each start of the agent saw."""
        return [line.split("|") for line in self._runs.read_text().splitlines()] if self._runs.exists() else []


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_machine_without_anything_set_tells_its_agent_where_it_is(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path)
    booted = machine.boot(shell, startup_script("https://godwit.example:7461/a b", "join's-token"))
    assert (booted.returncode, booted.stderr) == (0, "")
    ((url, token, node_dir, address),) = machine.runs
    assert (url, token, address) == ("https://godwit.example:7461/a b", "join's-token", "10.1.2.3")
    assert node_dir in ("/var/lib/godwit", f"{tmp_path}/home/.godwit-node")


def test_what_the_image_says_of_its_machine_wins(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    own = {"GODWIT_NODE_DIR": "/tmp/gw-1/3", "GODWIT_NODE_ADDRESS": "127.18.0.3"}
    machine.boot(["sh"], startup_script("http://c", "t"), **own)
    assert machine.runs == [["http://c", "t", "/tmp/gw-1/3", "127.18.0.3"]]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_an_agent_that_dies_is_started_again_until_it_is_sent_away(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path, well_at=4)
    assert machine.boot(shell, startup_script("http://c", "t")).returncode == 0
    assert len(machine.runs) == 4


def test_an_agent_that_only_dies_is_given_up_in_the_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path, well_at=1_000)
    assert machine.boot(["sh"], startup_script("http://c", "t")).returncode == 1
    assert len(machine.runs) == 100


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_an_image_without_the_agent_says_so_in_one_line_with_what_to_do(tmp_path: Path, shell: list[str]) -> None:
    importing = "echo Traceback; echo \"ModuleNotFoundError: No module named 'godwit'\"; exit 1"
    machine = Machine(tmp_path, well_at=1_000, importing=importing)
    booted = machine.boot(shell, startup_script("http://c", "join-token"))
    assert booted.returncode == 1
    assert len(machine.runs) == 1, "nothing will change by itself"
    (line,) = booted.stderr.splitlines()
    assert "(ModuleNotFoundError: No module named 'godwit')" in line
    assert "pip install 'godwit[agent]'" in line
    assert "GODWIT_PYTHON" in line
    assert "join-token" not in booted.stderr


def test_an_image_without_python_says_so_too(tmp_path: Path) -> None:
    booted = Machine(tmp_path).boot(["sh"], startup_script("http://c", "t"), GODWIT_PYTHON="/no/such/python")
    assert booted.returncode == 1
    assert "/no/such/python cannot import godwit.agents" in booted.stderr.splitlines()[-1]


def test_a_real_python_finds_the_address_of_this_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    script = startup_script("http://c", "t").replace('"$python" -m', "python3 -m")
    machine.boot(["sh"], script, GODWIT_PYTHON=sys.executable)
    address = machine.runs[0][3]
    assert len(address.split(".")) == 4


def test_the_script_fits_the_tightest_cloud_with_room() -> None:
    script = startup_script("https://" + "u" * 250, "t" * 500)
    assert len(script) < TIGHTEST_CHARACTERS - 1_000
    assert script.isascii()
