"""A secret through the whole system: the program has it, and it lies, passes and shows nowhere else."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("outages"), pytest.mark.timeout(540)]

VALUE = "hf_K7tq/Zr+8wXb-secret-of-nobody"
FORMS = (VALUE.encode(), base64.b64encode(VALUE.encode())[:-4])

PROGRAM = """\
echo "the program has $HF_TOKEN, which is $(printf %s "$HF_TOKEN" | base64 -w0)"
while ! test -e GO; do sleep 0.2; done
echo "it still has $HF_TOKEN"
sleep 600
"""

FAILS = """\
echo "its last word is $HF_TOKEN"
exit 3
"""


def holding(*folders: Path) -> Iterator[Path]:
    """Files with a form of the secret in them."""
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


def agents(system: System) -> dict[Path, psutil.Process]:
    """The agents of this control plane, by the folders of their nodes."""
    url = json.loads((system.home / "control_plane.json").read_text())["url"]
    found: dict[Path, psutil.Process] = {}
    for process in psutil.process_iter(["cmdline", "environ"]):
        env: dict[str, Any] = process.info["environ"] or {}
        words = " ".join(process.info["cmdline"] or [])
        if env.get("GODWIT_URL") == url and "GODWIT_NODE_DIR" in env and "godwit.agents" in words:
            found[Path(env["GODWIT_NODE_DIR"])] = process
    return found


def said(system: System) -> str:
    """All that the command line tells of it."""
    reads = (["logs", "speaks"], ["explain", "speaks"], ["events"], ["secrets"], ["secrets", "versions", "hf-token"])
    ended = [system.godwit(*words) for words in reads]
    return "".join(one.stdout + one.stderr for one in ended)


def told_of_a_failure(system: System, tmp_path: Path) -> str:
    """All that is told of a job that fails with the secret as its last word."""
    spec = tmp_path / "fails.yaml"
    setup = json.dumps(FAILS)  # of an environment: its set-up may end it, and it needs no Ray
    spec.write_text(f"kind: dev\nname: tells\nsetup: {setup}\nrun: 'true'\nsecrets: {{HF_TOKEN: hf-token}}\n")
    assert system.godwit("run", "-y", "--detach", str(spec)).returncode == 0
    wait_for("its failure", 120, lambda: system.read("explain", "tells")["job"]["state"] == "failed")
    reads = (["logs"], ["explain"], ["explain", "-o", "json"], ["events", "--job"], ["events", "-o", "json", "--job"])
    ended = [system.godwit(*words, "tells") for words in reads]
    ended += [system.godwit(*words) for words in (["ps", "-a"], ["ps", "-a", "-o", "json"])]
    assert [one.returncode for one in ended] == [0] * len(ended), [one.stderr for one in ended]
    assert all(f"its last word is {'*' * len(VALUE)}" in one.stdout for one in ended[:3])
    return "".join(one.stdout + one.stderr for one in ended)


def test_a_secret_is_with_the_program_alone_through_a_death_of_the_agent_and_to_its_end(tmp_path: Path) -> None:
    home, go = tmp_path / "home", tmp_path / "go"
    spec = tmp_path / "job.yaml"
    run = json.dumps(PROGRAM.replace("GO", str(go)))
    spec.write_text(f"kind: dev\nname: speaks\nrun: {run}\nsecrets: {{HF_TOKEN: hf-token}}\n")
    with serving(home, "providers:\n  - {kind: local, name: local}\n") as system:
        refused = system.godwit("run", "-y", str(spec))
        assert refused.returncode != 0
        assert "has no secret hf-token" in refused.stderr
        made = system.godwit("secrets", "set", "hf-token", keys=[VALUE])
        assert made.returncode == 0, made.stderr
        assert system.godwit("run", "-y", "--detach", str(spec)).returncode == 0
        wait_for("its first words", 240, lambda: "the program has" in system.godwit("logs", "speaks").stdout)
        assert in_command_lines() == []
        ((node, agent),) = agents(system).items()
        assert {path.name for path in holding(home, node)} <= {"output.log"}, "what it printed itself, until it ends"
        agent.kill()
        go.touch()
        wait_for("its next words", 240, lambda: "it still has" in system.godwit("logs", "speaks").stdout)
        told = said(system)
        assert f"the program has {'*' * len(VALUE)}, which is ****" in told
        assert f"it still has {'*' * len(VALUE)}" in told
        assert not any(form.decode() in told for form in FORMS)
        assert system.godwit("cancel", "speaks").returncode == 0
        wait_for("its end", 120, lambda: not any((node / "attempts").iterdir()))
        told = told_of_a_failure(system, tmp_path)
        assert not any(form.decode() in told for form in FORMS)
        wait_for("its end too", 120, lambda: not any((node / "attempts").iterdir()))
        assert system.godwit("backup", str(tmp_path / "backup.godwit")).returncode == 0
        assert list(holding(tmp_path, node)) == []
