"""Whether a node can save programs: tried, and the reason told where it cannot."""

import os
from pathlib import Path

import pytest
from godwit.agents.runtime.process import probe


def _criu(folder: Path, script: str) -> dict[str, str]:
    path = folder / "criu.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"GODWIT_CRIU": f"{path} --quiet", "PATH": "/usr/bin:/bin"}


def test_without_criu_it_says_how_to_name_one() -> None:
    found = probe.probe({"PATH": "/nowhere"}, simulated=False)
    assert (found.criu, found.no_saves) == ((), "there is no criu on its PATH, and GODWIT_CRIU names none")
    assert found.no_gpu_saves == found.no_saves


def test_what_is_named_may_be_a_wrapper_with_arguments() -> None:
    assert probe.command_of({"GODWIT_CRIU": "/opt/wrap 'a b'"}) == ("/opt/wrap", "a b")


def test_an_agent_that_is_not_root_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "does not run as root" in probe.probe(_criu(tmp_path, "exit 0"), simulated=True).no_saves


def test_a_check_that_fails_is_told_in_crius_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    env = _criu(tmp_path, 'echo "Error (criu/cr-check.c:1): no CONFIG_CHECKPOINT_RESTORE" >&2; exit 1')
    assert "no CONFIG_CHECKPOINT_RESTORE" in probe.probe(env, simulated=True).no_saves


def test_one_that_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "could not be run" in probe.probe({"GODWIT_CRIU": str(tmp_path / "none")}, simulated=True).no_saves


def test_real_gpus_need_cuda_checkpoint_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_why_not", lambda _command: "")
    env = _criu(tmp_path, "exit 0")
    found = probe.probe(env, simulated=False)
    assert (found.no_saves, found.no_gpu_saves) == ("", "there is no cuda-checkpoint on its PATH")
    assert probe.probe(env, simulated=True).no_gpu_saves == ""


def test_an_old_driver_is_told_with_the_one_that_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda-checkpoint", "cuda_plugin.so"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(probe, "_why_not", lambda _command: "")
    monkeypatch.setattr(probe, "PLUGIN_FOLDERS", (str(tmp_path),))
    env = {**_criu(tmp_path, "exit 0"), "PATH": str(tmp_path)}
    for version, can in ((560, False), (None, False), (570, True)):
        monkeypatch.setattr(probe, "_driver_version", lambda version=version: version)
        assert (probe.probe(env, simulated=False).no_gpu_saves == "") is can
