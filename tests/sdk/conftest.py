"""A program inside of godwit, without any of it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.sdk import checkpoint, notice


@pytest.fixture
def in_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its run folder; the program begins anew: no save, no notice."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setenv("GODWIT_RUN_DIR", str(run))
    monkeypatch.setenv("GODWIT_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.delenv("GODWIT_RESTORED_CHECKPOINT", raising=False)
    monkeypatch.delenv("GODWIT_CHECKPOINT_INTERVAL_S", raising=False)
    monkeypatch.setattr(checkpoint, "_writing", None)
    monkeypatch.setattr(notice, "_notice", notice._Notice())
    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)
