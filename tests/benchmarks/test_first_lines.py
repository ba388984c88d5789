"""A command's first line is timed only if the command did its job."""

import os

import pytest

from benchmarks import first_lines


def test_the_line_is_seen_before_the_command_ends() -> None:
    seen = first_lines.watch(["sh", "-c", "echo before; echo hi; echo after"], "hi", os.environ, timeout_s=30)
    assert 0 < seen.after_s < 30
    assert seen.output == "before\nhi\nafter\n"


def test_a_line_that_only_contains_it_does_not_count() -> None:
    with pytest.raises(RuntimeError, match="echo hi"):
        first_lines.watch(["sh", "-c", "echo hi there"], "hi", os.environ, timeout_s=30)


def test_a_command_that_fails_gives_no_figure() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        first_lines.watch(["sh", "-c", "echo hi; exit 3"], "hi", os.environ, timeout_s=30)


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(RuntimeError, match="ended with -9"):
        first_lines.watch(["sleep", "60"], "hi", os.environ, timeout_s=0.2)
