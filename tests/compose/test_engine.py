"""Whoever reads the end of a run knows which images it was about; no engine is needed."""

import os
import shutil
import warnings
from contextlib import nullcontext

import pytest

from tests.compose import engine as module
from tests.compose.engine import PYTHON, STAND_INS, Engine, StandInsUsed, engine


def test_images_that_were_made_here_are_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Engine("unix:///nowhere")
    monkeypatch.setattr(Engine, "answers", lambda _engine, *command: command != ("docker", "info"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(module, "_daemon", lambda _folder: nullcontext(own))
    monkeypatch.setattr(module, "_make_images", lambda _own, _folder: None)
    with pytest.warns(StandInsUsed) as told, engine() as used:
        assert used is own
    (warning,) = told
    assert [name for name in (PYTHON, *STAND_INS.values()) if name not in str(warning.message)] == []


def test_an_engine_that_has_the_images_of_the_registry_is_used_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "answers", lambda _engine, *_command: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with engine() as used:
            assert used == Engine()
