"""The control plane as a process: what it says when it cannot start."""

import subprocess
import sys
from pathlib import Path


def test_a_database_that_does_not_answer_is_told_in_two_lines_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://godwit:hunter2@127.0.0.1:1/godwit"
    (tmp_path / "config.yaml").write_text(f"port: 0\nproviders: []\ndatabase: {url}\n")
    command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    what, where = [line for line in ended.stderr.splitlines() if "Warning" not in line and not line.startswith("  ")]
    assert what.startswith("the database cannot be used: ")
    assert "config.yaml" in where
    assert "hunter2" not in ended.stderr
