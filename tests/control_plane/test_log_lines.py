"""The log of a control plane: whatever things are called, an event is one line, and steers nobody's terminal."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from godwit.control_plane import log_lines

NAME = "x\x1b[2J\x9b31m\r\nlevel=info event=forged\x7f"
"""Clears the screen, turns what follows red, and would be a line of its own."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize(
    "said", [NAME, [NAME], {"name": NAME}, ValueError(NAME)], ids=["text", "list", "mapping", "error"]
)
def test_a_name_neither_steers_the_terminal_nor_makes_a_line(said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log_lines.configure()
    structlog.get_logger().warning("a machine never became usable", why=said)
    _is_one_plain_line(capsys.readouterr().err)


def test_nor_does_an_error_that_is_told_with_where_it_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    log_lines.configure()
    try:
        raise ValueError(NAME)
    except ValueError:
        structlog.get_logger().exception("a loop failed", attempt=1)
    line = capsys.readouterr().err
    _is_one_plain_line(line)
    assert " attempt=1 " in line
    assert "Traceback" in line


def _is_one_plain_line(written: str) -> None:
    assert written.endswith("\n")
    assert written.rstrip("\n").isprintable(), written
    assert written.count("event=") >= 1
