"""Fixtures: the command line run in this process, against a control plane that the test scripts."""

import os
import sys

import pytest
from godwit.cli import console, main

from tests.cli.scripted import Godwit, ScriptedControlPlane, page


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedControlPlane:
    """A scripted control plane that every command talks to; without arrays, unless the test says so."""
    control_plane = ScriptedControlPlane()
    control_plane.on("GET", "/v1/arrays", page())
    monkeypatch.setattr(console, "control_plane", control_plane.client)
    return control_plane


@pytest.fixture
def godwit(monkeypatch: pytest.MonkeyPatch) -> Godwit:
    """Run the command line in this process; returns the exit code."""
    monkeypatch.setitem(os.environ, "COLUMNS", "80")

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["godwit", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return int(ended.value.code or 0)

    return run
