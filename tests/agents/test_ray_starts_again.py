"""A Ray that had too little time to start is started again, and nothing else is."""

import subprocess
from pathlib import Path

import pytest
from godwit.agents.runtime.ray_cluster import _AGAIN

LATE = "Exception: The current node timed out during startup. This could happen because ..."


def start(folder: Path, program: str) -> tuple[int, int]:
    """The exit code, and how often it was tried, of a Ray that does as `program` says."""
    log, count = folder / "ray.log", folder / "count"
    with log.open("ab") as output:
        argv = ["sh", "-c", _AGAIN, "sh", "sh", "-c", f'echo >>"$0"; tried=$(wc -l <"$0"); {program}', str(count)]
        code = subprocess.run(argv, check=False, stdout=output, stderr=output, timeout=60).returncode
    return code, len(count.read_text())


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        pytest.param("exit 0", (0, 1), id="it ran, and is over"),
        pytest.param("echo no such flag; exit 2", (2, 1), id="it failed otherwise"),
        pytest.param(f"[ $tried = 2 ] && exit 0; echo '{LATE}'; exit 1", (0, 2), id="it was late once"),
        pytest.param(
            f"[ $tried = 2 ] && exit 7; echo '{LATE}'; exit 1", (7, 2), id="it was late, and ran until it died"
        ),
        pytest.param(f"echo '{LATE}'; exit 1", (1, 3), id="it is late each time"),
    ],
)
def test_what_was_late_is_tried_three_times_and_its_last_word_counts(
    tmp_path: Path, program: str, ended: tuple[int, int]
) -> None:
    assert start(tmp_path, program) == ended


def test_what_another_attempt_said_in_the_same_log_is_nobodys_reason(tmp_path: Path) -> None:
    (tmp_path / "ray.log").write_text(f"{LATE}\n")
    assert start(tmp_path, "exit 1") == (1, 1)
