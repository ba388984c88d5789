"""A real agent joins by mutual TLS, runs a workspace, is killed and comes back; a terminal goes the same way."""

import json
import stat
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("outages"), pytest.mark.timeout(540)]

CONFIG = "agents_tls: {}\nproviders:\n  - {kind: local, name: local}\n"


def agent_of(system: System) -> tuple[Path, psutil.Process]:
    """The folder of the one node, and its agent's process."""
    url = json.loads((system.home / "control_plane.json").read_text())["url"]
    for process in psutil.process_iter(["cmdline", "environ"]):
        env = process.info["environ"] or {}
        if env.get("GODWIT_URL") == url and "godwit.agents" in " ".join(process.info["cmdline"] or []):
            return Path(env["GODWIT_NODE_DIR"]), process
    raise AssertionError("no agent runs")


def test_an_agent_with_a_certificate_runs_work_shows_a_terminal_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("kind: dev\nname: box\nrun: 'echo it runs; while sleep 1; do date; done'\n")
    with serving(tmp_path / "home", CONFIG) as system:
        assert system.godwit("run", "-y", "--detach", str(spec)).returncode == 0
        wait_for("its first words", 240, lambda: "it runs" in system.godwit("logs", "box").stdout)
        node, agent = agent_of(system)
        kept = json.loads((node / "credential").read_text())
        assert kept["url"].startswith("https://127.0.0.1:")
        assert stat.S_IMODE((node / "credential").stat().st_mode) == 0o600
        ends = {(c.raddr.ip, c.raddr.port) for c in agent.net_connections("tcp") if c.status == "ESTABLISHED"}
        port = int(kept["url"].rpartition(":")[2])
        assert ("127.0.0.1", port) in ends
        plain = int(json.loads((system.home / "control_plane.json").read_text())["url"].rpartition(":")[2])
        assert ("127.0.0.1", plain) not in ends, "nothing goes past TLS"
        inside = system.godwit("exec", "box", "--", "sh", "-c", "echo from inside; exit 3")
        assert (inside.returncode, "from inside" in inside.stdout) == (3, True), inside.stderr
        agent.kill()
        wait_for(
            "another certificate", 120, lambda: json.loads((node / "credential").read_text())["key"] != kept["key"]
        )
        (view,) = system.read("nodes")
        assert view["state"] == "ready"
        assert system.godwit("exec", "box", "--", "true").returncode == 0
        logs = [path for folder in (tmp_path, node) for path in folder.rglob("*.log")]
        assert logs != []
        secret = kept["key"].splitlines()[1]
        assert [path for path in logs if secret in path.read_text(errors="replace")] == []
