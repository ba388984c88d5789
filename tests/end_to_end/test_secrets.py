"""A secret through the whole system: the program has it, and it lies, passes and shows nowhere else."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

VALUE = "hf_K7tq/Zr+8wXb-secret-of-nobody"
FORMS = (VALUE.encode(), base64.b64encode(VALUE.encode())[:-4])

PROGRAM = """\
import base64, os, pathlib, sys, time
import ray

value = os.environ["HF_TOKEN"]
print("the program has", value, base64.b64encode(value.encode()).decode(), flush=True)

@ray.remote(num_cpus=0.1)
def told():
    return os.environ["HF_TOKEN"]

ray.init(log_to_driver=True)
assert ray.get(told.remote()) == value
print("and so has its worker", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.1)
print("it ends with", value, flush=True)
sys.exit(3)
"""


def holding(folders: list[Path]) -> Iterator[Path]:
    """Files with a form of the secret in them; what a running program printed is its own until it is sent."""
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            except OSError:
                continue  # it went meanwhile
            if any(form in content for form in FORMS):
                yield path


def in_command_lines() -> list[str]:
    """Command lines with the secret in them."""
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if VALUE in line]


def agents(home: Path) -> list[psutil.Process]:
    """The agents of this home's nodes."""
    found = psutil.process_iter(["cmdline", "environ"])
    return [
        one for one in found
        if "godwit.agents" in " ".join(one.info["cmdline"] or [])
        and (one.info["environ"] or {}).get("GODWIT_NODE_DIR", "").startswith(str(home))
        and (one.info["environ"] or {}).get("GODWIT_JOIN_TOKEN")
    ]  # fmt: skip


def said(system: System) -> str:
    """All that the control plane says of it."""
    reads = (["logs", "speaks"], ["explain", "speaks"], ["events"], ["secrets"], ["secrets", "versions", "hf-token"])
    ended = [system.godwit(*words) for words in reads]
    return "".join(one.stdout + one.stderr for one in ended)


def test_a_secret_is_with_the_program_alone_through_a_death_of_the_agent_and_to_its_end(tmp_path: Path) -> None:
    home, go = tmp_path / "home", tmp_path / "go"
    work = tmp_path / "work"
    work.mkdir()
    (work / "speaks.py").write_text(PROGRAM)
    spec = work / "job.yaml"
    run = f"run: python speaks.py {go}\n"
    spec.write_text(f"name: speaks\nworkdir: .\n{run}secrets: {{HF_TOKEN: hf-token}}\nretries: {{max: 0}}\n")
    with serving(home, "providers:\n  - {kind: local, name: local}\n") as system:
        refused = system.godwit("run", "-y", str(spec))
        assert refused.returncode != 0
        assert "has no secret hf-token" in refused.stderr
        made = system.godwit("secrets", "set", "hf-token", keys=[VALUE])
        assert made.returncode == 0, made.stderr
        assert system.godwit("run", "-y", "--detach", str(spec)).returncode == 0
        wait_for("the program's words", 240, lambda: "so has its worker" in system.godwit("logs", "speaks").stdout)
        assert in_command_lines() == []
        assert {path.name for path in holding([home, Path("/tmp/ray")])} <= {"output.log"}
        for agent in agents(home):
            agent.kill()
        go.touch()
        wait_for("the end", 240, lambda: system.read("ps", "-a")[0]["state"] == "failed")
        told = said(system)
        assert "the program has ****" in told
        assert "it ends with ****" in told
        assert VALUE not in told
        backup = tmp_path / "backup.godwit"
        assert system.godwit("backup", str(backup)).returncode == 0
    wait_for("the folders of the attempt to go", 60, lambda: not any(home.rglob("output.log")))
    assert list(holding([home, tmp_path / "work", Path("/tmp/ray")])) == []
    assert subprocess.run(["grep", "-c", VALUE, str(backup)], capture_output=True, check=False).returncode == 1
