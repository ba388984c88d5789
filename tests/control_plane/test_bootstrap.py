"""The startup script, run by the shells that machines have: it brings the agent up, or says why it cannot."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from godwit.control_plane.executors.bootstrap import startup_script
from godwit.control_plane.services import startups
from godwit.control_plane.version import AGENT_PACKAGE, VERSION

from tests.control_plane.machines import TOKEN, Machine, listening, longest_script, stub_wheel

SHELLS = [shell for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]
TIGHTEST_CHARACTERS = 4_048
"""Vast.ai's `onstart`."""

NOWHERE = "http://127.0.0.1:9"
every_shell = pytest.mark.parametrize("shell", SHELLS, ids=" ".join)


def script_for(url: str = NOWHERE, package: str = "godwit[agent]==1.2.3") -> str:
    return startup_script(url, TOKEN, package)


# An image with the agent.


@every_shell
def test_an_image_with_the_agent_starts_it_and_tells_it_where_it_is(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path)
    machine.python(has_agent=True)
    script = startup_script("https://godwit.example:7461/a b", "join's-token", AGENT_PACKAGE)
    booted = machine.boot(shell, script)
    assert (booted.returncode, booted.stderr) == (0, "agent: run 1\ngodwit: over\n")
    ((_, url, token, node_dir, address, _),) = machine.runs
    assert (url, token, address) == ("https://godwit.example:7461/a b", "join's-token", "10.1.2.3")
    assert node_dir == str(machine.node_dir)
    assert not any("install" in line for line in machine.lines("arguments"))


def test_what_the_image_says_of_its_machine_wins(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    named = machine.python("my-python", has_agent=True)
    machine.python(has_agent=True)
    own = {"GODWIT_NODE_DIR": str(tmp_path / "3"), "GODWIT_NODE_ADDRESS": "127.18.0.3", "GODWIT_PYTHON": str(named)}
    machine.boot(["sh"], script_for("http://c"), **own)
    assert machine.runs == [[str(named), "http://c", TOKEN, str(tmp_path / "3"), "127.18.0.3", str(named)]]


def test_a_machine_that_names_no_folder_gets_one_that_lasts(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python(has_agent=True)
    script = script_for().replace("/var/lib", str(tmp_path / "var"))
    machine.boot(["sh"], script, GODWIT_NODE_DIR="")
    (tmp_path / "var").mkdir()
    machine.boot(["sh"], script, GODWIT_NODE_DIR="")
    assert [run[3] for run in machine.runs] == [f"{tmp_path}/.godwit-node", f"{tmp_path}/var/godwit"]


def test_the_newer_python_beside_the_systems_own_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python("python3", version="exit 1")
    machine.python("python3.12", has_agent=True)
    assert machine.boot(["sh"], script_for()).returncode == 0
    assert machine.runs[0][0].endswith("/python3.12")


@every_shell
def test_an_agent_that_dies_is_started_again_until_it_is_sent_away(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path)
    machine.python(has_agent=True, well_at=4)
    assert machine.boot(shell, script_for()).returncode == 0
    assert len(machine.runs) == 4


def test_an_agent_that_was_killed_is_back_without_further_questions(tmp_path: Path) -> None:
    """Seconds count: it is missed soon, and importing Ray takes a while."""
    machine = Machine(tmp_path)
    named = machine.python(has_agent=True, well_at=2)
    machine.boot(["sh"], script_for(), GODWIT_PYTHON=str(named))
    assert not any("import godwit" in line for line in machine.lines("arguments"))
    assert machine.lines("pauses") == ["1"]


def test_an_agent_that_lived_for_long_has_all_its_tries_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python(has_agent=True, well_at=100)
    clock = f"#!/bin/sh\necho x >>{tmp_path}/looks\necho $(($(wc -l <{tmp_path}/looks) * 61))\n"
    machine.tool("date", clock)
    assert machine.boot(["sh"], script_for()).returncode == 0
    assert len(machine.runs) == 100


def test_nothing_that_the_agent_starts_reads_what_the_script_would(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python(has_agent=True, agent="cat >&2; echo read >&2")
    told = machine.boot(["sh"], script_for()).stderr
    assert "read\n" in told
    assert "typed" not in told


# An image without it.


@every_shell
def test_an_image_without_the_agent_gets_it_in_a_folder_of_its_own(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path)
    machine.python()
    assert machine.boot(shell, script_for()).returncode == 0
    ((python, *_),) = machine.runs
    assert python.startswith(f"{machine.node_dir}/venv-")
    (installed,) = [line for line in machine.lines("arguments") if "pip install" in line]
    assert installed.startswith(f"{python} -m pip install ")
    assert installed.endswith(" godwit[agent]==1.2.3")


def test_a_machine_that_starts_again_installs_nothing_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python()
    for _ in range(2):
        assert machine.boot(["sh"], script_for()).returncode == 0
    assert len([line for line in machine.lines("arguments") if "pip install" in line]) == 1


def test_another_version_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python()
    for version in ("1.2.3", "1.2.4"):
        machine.boot(["sh"], script_for(package=f"godwit[agent]=={version}"))
    (before, *_), (after, *_) = machine.runs
    assert (Path(before).exists(), Path(after).exists()) == (False, True)


def test_an_agent_can_outlast_the_folder_of_its_node(tmp_path: Path) -> None:
    """As on a host of one's own, which is one node after the other."""
    machine = Machine(tmp_path)
    machine.python()
    lasting = f"{tmp_path}/of the host"
    for number in "12":
        own = {"GODWIT_NODE_DIR": f"{tmp_path}/{number}", "GODWIT_AGENT_DIR": lasting}
        assert machine.boot(["sh"], script_for(), **own).returncode == 0
    assert [python.startswith(lasting) for python, *_ in machine.runs] == [True, True]
    assert len([line for line in machine.lines("arguments") if "pip install" in line]) == 1


def test_a_python_that_is_named_and_has_no_agent_is_only_installed_from(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    named = machine.python("my-python", agent='[ -e "$0.agent" ] || exit 1')
    assert machine.boot(["sh"], script_for(), GODWIT_PYTHON=str(named)).returncode == 0
    assert [run[0] == str(named) for run in machine.runs] == [True, True, False]
    assert machine.runs[-1][5] == "", "jobs find Ray beside the agent's own Python"


def test_a_python_that_is_named_and_not_there_does_not_stop_another(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python()
    assert machine.boot(["sh"], script_for(), GODWIT_PYTHON="/no/such/python").returncode == 0
    assert machine.runs[-1][4] == "10.1.2.3"


def test_a_venv_that_comes_without_pip_uses_the_systems(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python(
        venv='case $* in *--without-pip*) touch "$last/bin/python.pip" ;; *) echo no ensurepip; false ;; esac'
    )
    assert machine.boot(["sh"], script_for()).returncode == 0


@pytest.mark.parametrize(("user", "expected"), [(0, 0), (1000, 1)])
def test_only_root_may_install_packages_of_the_system(tmp_path: Path, user: int, expected: int) -> None:
    """As Ubuntu 22.04: its Python is 3.10, and 3.11 is one of its packages."""
    machine = Machine(tmp_path)
    machine.tool("id", f"#!/bin/sh\necho {user}\n")
    later = machine.python("later")
    brings = f"cp {later} {machine.bin}/python3.11"
    steps = f"case $* in *python3.11-venv) {brings} ;; *install*) echo not there; exit 100 ;; esac"
    machine.tool("apt-get", f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{tmp_path}/arguments\n{steps}\n')
    machine.python("python3", version="exit 1")
    booted = machine.boot(["sh"], script_for())
    assert (booted.returncode, "no Python 3.11 or later" in booted.stderr) == (expected, expected == 1)
    assert any("apt-get install" in line for line in machine.lines("arguments")) == (user == 0)


def test_a_system_that_has_no_newer_python_is_given_up_in_words(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.tool("id", "#!/bin/sh\necho 0\n")
    machine.tool("apt-get", "#!/bin/sh\necho E: not there >&2\nexit 100\n")
    with listening() as control_plane:
        machine.boot(["sh"], script_for(control_plane.url))
    ((verdict, log),) = control_plane.heard
    assert "no Python 3.11 or later has venv and pip" in verdict
    assert "E: not there" in log


def test_pip_that_fails_once_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    flag = tmp_path / "failed"
    machine.python(pip=f"{{ [ -e {flag} ] || {{ touch {flag}; echo ERROR: no route; exit 1; }}; }}")
    assert machine.boot(["sh"], script_for()).returncode == 0
    assert machine.lines("pauses") == ["5"]


def test_a_real_python_installs_a_wheel_and_runs_its_agent(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    base = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    if subprocess.run([base, "-c", "import godwit.agents.main"], capture_output=True, check=False).returncode == 0:
        pytest.skip("this Python has the agent")
    machine.tool("python3", f'#!/bin/sh\nexec {base} "$@"\n')
    package = f"godwit[agent] @ {stub_wheel(tmp_path / 'wheels').as_uri()}"
    booted = machine.boot(["sh"], script_for(package=package))
    assert booted.returncode == 0, booted.stderr
    assert (machine.node_dir / "ran").read_text().startswith(f"{machine.node_dir}/venv-")


# Giving up.


@every_shell
def test_a_machine_without_python_says_so_and_what_to_do(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path, "curl")
    with listening() as control_plane:
        booted = machine.boot(shell, script_for(control_plane.url))
    assert booted.returncode == 1
    ((verdict, _),) = control_plane.heard
    assert booted.stderr.splitlines()[-1] == verdict
    assert verdict == (
        "godwit: gave up: cannot install godwit[agent]==1.2.3: no Python 3.11 or later has venv and pip: "
        "install python3-venv or set GODWIT_PYTHON"
    )


def test_pip_that_only_fails_is_given_up_with_its_own_last_words(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(pip="{ echo looking; echo ERROR: No matching distribution found for godwit; false; }")
    with listening() as control_plane:
        assert machine.boot(["sh"], script_for(control_plane.url)).returncode == 1
    ((verdict, log),) = control_plane.heard
    assert verdict.endswith("cannot install godwit[agent]==1.2.3: ERROR: No matching distribution found for godwit")
    assert log.count("looking") == 3
    assert machine.lines("pauses") == ["5", "20", "0"]


def test_what_was_installed_and_cannot_be_imported_is_given_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(pip="{ false || exit 0; }")
    with listening() as control_plane:
        assert machine.boot(["sh"], script_for(control_plane.url)).returncode == 1
    assert control_plane.heard[0][0].endswith(": No module named godwit")


@every_shell
def test_an_agent_that_only_dies_is_given_up_with_its_last_lines(tmp_path: Path, shell: list[str]) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(has_agent=True, well_at=1_000, agent="echo level=error error=boom >&2")
    with listening() as control_plane:
        assert machine.boot(shell, script_for(control_plane.url)).returncode == 1
    assert len(machine.runs) == 40
    ((verdict, log),) = control_plane.heard
    assert verdict == "godwit: gave up: the agent died 40 times, each within a minute"
    assert log.splitlines()[-2:] == ["level=error error=boom", verdict]
    assert len(log.splitlines()) == 40


def test_a_folder_that_cannot_be_made_is_given_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    (tmp_path / "file").touch()
    with listening() as control_plane:
        machine.boot(["sh"], script_for(control_plane.url), GODWIT_NODE_DIR=str(tmp_path / "file" / "x"))
    assert "Not a directory" in control_plane.heard[0][0]


def test_a_long_log_is_reported_by_its_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(pip=f"{{ for i in {' '.join('x' * 9)}; do printf '%03000d\\n' 7; done; false; }}")
    with listening() as control_plane:
        machine.boot(["sh"], script_for(control_plane.url))
    ((verdict, log),) = control_plane.heard
    assert verdict.startswith("godwit: gave up: ")
    assert len(verdict) < 700
    assert 10_000 < len(log.encode()) < startups.LOG_BYTES_MAX


def test_an_agent_that_is_sent_away_is_no_failure(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(has_agent=True)
    with listening() as control_plane:
        assert machine.boot(["sh"], script_for(control_plane.url)).returncode == 0
    assert control_plane.calls == 0


def test_a_script_that_is_killed_reports_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    machine.python(has_agent=True, well_at=9, agent="kill -9 $PPID")
    with listening() as control_plane:
        assert machine.boot(["sh"], script_for(control_plane.url)).returncode == 1
    assert control_plane.calls == 0


# Telling the control plane.

TELLERS = [name for name in ("curl", "wget", "python3") if shutil.which(name)]


@pytest.mark.parametrize("teller", TELLERS)
def test_whatever_can_speak_http_tells_the_control_plane(tmp_path: Path, teller: str) -> None:
    machine = Machine(tmp_path, *([] if teller == "python3" else [teller]))
    if teller == "python3":
        machine.python(version="exit 1")
    with listening() as control_plane:
        machine.boot(["sh"], script_for(control_plane.url))
    ((verdict, log),) = control_plane.heard
    assert "gave up" in verdict
    assert log.startswith("godwit: no Python here has the agent: installing godwit[agent]==1.2.3\n")


@pytest.mark.parametrize("teller", TELLERS)
def test_the_token_stands_in_no_argument_and_in_no_log(tmp_path: Path, teller: str) -> None:
    machine = Machine(tmp_path, *([] if teller == "python3" else [teller]))
    speaks = {} if teller == "python3" else {"http": "exit 1"}
    machine.python(has_agent=True, well_at=1_000, agent='echo "env: $GODWIT_JOIN_TOKEN" >&2', **speaks)
    with listening() as control_plane:
        booted = machine.boot(["sh"], script_for(control_plane.url))
    secret = TOKEN.partition(".")[2]
    assert control_plane.heard
    assert any(f"{machine.bin}/{teller} " in line for line in machine.lines("arguments"))
    assert not any(secret in line for line in machine.lines("arguments"))
    assert secret not in booted.stderr + booted.stdout + control_plane.heard[0][1]
    assert all(path.stat().st_mode & 0o077 == 0 for path in machine.node_dir.iterdir() if secret in path.read_text())


def test_a_control_plane_that_is_busy_is_told_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    with listening(busy=2) as control_plane:
        machine.boot(["sh"], script_for(control_plane.url))
    assert (control_plane.calls, len(control_plane.heard)) == (3, 1)
    assert machine.lines("pauses")[3:] == ["1", "2"]


def test_a_control_plane_that_is_down_is_tried_for_a_while_and_no_longer(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "curl")
    booted = machine.boot(["sh"], script_for(NOWHERE))
    assert booted.returncode == 1
    assert booted.stderr.splitlines()[-1] == f"godwit: cannot tell {NOWHERE} of this"
    assert machine.lines("pauses")[3:] == ["1", "2", "4", "8", "0"]


def test_a_machine_that_can_tell_nobody_ends_all_the_same(tmp_path: Path) -> None:
    assert Machine(tmp_path).boot(["sh"], script_for()).returncode == 1


# The text itself.


def test_the_longest_script_fits_the_tightest_cloud() -> None:
    script = longest_script()
    assert len(script) <= TIGHTEST_CHARACTERS
    assert script.isascii()
    assert script.startswith("#!/bin/sh\n")


def test_only_one_secret_is_in_it_and_no_comment() -> None:
    script = script_for()
    assert script.count(TOKEN) == 1
    assert [line for line in script.splitlines() if line.startswith("#")] == ["#!/bin/sh"]


def test_a_machine_installs_the_version_that_it_is_going_to_talk_to() -> None:
    assert f"godwit[agent]=={VERSION}" == AGENT_PACKAGE
