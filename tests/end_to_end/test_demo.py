"""The demo is the promise of the front page, so it is a test: it exits with 0 only if everything really happened."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]


def test_a_training_job_outlives_the_loss_of_its_node() -> None:
    demo = [sys.executable, str(ROOT / "examples" / "digits" / "demo.py")]
    ended = subprocess.run(demo, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
    for promised in ("accuracy", "steps lost", "time to detect", "time to resume", "GPU-seconds", "dollars at"):
        assert promised in ended.stdout
