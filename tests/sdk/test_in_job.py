"""The in-job helper: silent outside of godwit, careful inside."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from godwit.sdk import checkpoint, job


def write_number(number: int, folder: Path) -> None:
    (folder / "state").write_text(str(number))


def test_outside_of_godwit_a_report_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GODWIT_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    job.report(1, 2, loss=0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_one_line(in_job: Path) -> None:
    job.report(1, 2, loss=0.5)
    job.report(2)
    first, second = map(json.loads, (in_job / "progress.jsonl").read_text().splitlines())
    assert (first["step"], first["total_steps"], first["metrics"]) == (1, 2, {"loss": 0.5})
    assert (second["step"], second["total_steps"]) == (2, None)


def test_a_report_says_of_which_rank_it_is_where_the_launcher_says_so(
    in_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "9")
    monkeypatch.setenv("LOCAL_RANK", "1")
    job.report(4, compute_s=0.25)
    written = json.loads((in_job / "progress.jsonl").read_text())
    assert (written["rank"], written["local_rank"], written["metrics"]) == (9, 1, {"compute_s": 0.25})


def test_reports_do_not_fill_the_disk(in_job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "ROTATE_BYTES", 1000)
    for step in range(100):
        job.report(step)
    path = in_job / "progress.jsonl"
    assert path.stat().st_size < 1100
    assert json.loads(path.read_text().splitlines()[-1])["step"] == 99
    assert [p.name for p in in_job.iterdir()] == ["progress.jsonl"]


def test_a_full_or_missing_folder_does_not_stop_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_RUN_DIR", "/nowhere/at/all")
    job.report(1)


def test_a_saved_checkpoint_is_the_latest_and_older_ones_make_room(in_job: Path) -> None:
    assert checkpoint.latest() is None
    for step in (5, 10, 15):
        saved = checkpoint.save(step, functools.partial(write_number, step))
        assert checkpoint.latest() == saved
    assert sorted(p.name for p in checkpoint.directory().iterdir()) == ["checkpoint-10", "checkpoint-15"]
    assert (checkpoint.directory() / "checkpoint-15" / "state").read_text() == "15"


def test_a_writer_that_fails_leaves_no_checkpoint(in_job: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        checkpoint.save(5, fail)
    assert list(checkpoint.directory().iterdir()) == []


def test_the_restored_checkpoint_is_found_by_variable_or_by_note(
    in_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = checkpoint.directory() / "from-before-40"
    entry.mkdir()
    assert checkpoint.restored() is None
    (in_job / "restored").write_text(str(entry))
    assert checkpoint.restored() == checkpoint.latest() == entry
    monkeypatch.setenv("GODWIT_RESTORED_CHECKPOINT", str(tmp_path))
    assert checkpoint.restored() == tmp_path
    monkeypatch.setenv("GODWIT_RESTORED_CHECKPOINT", str(tmp_path / "gone"))
    assert checkpoint.restored() is None


def test_importing_it_brings_nothing_but_the_standard_library() -> None:
    code = "import sys, godwit.sdk.job, godwit.sdk.checkpoint; print([m for m in ('ray','torch','pydantic','httpx') if m in sys.modules])"  # noqa: E501
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
