"""Agents as processes, attempts on real Ray."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.ray


def test_a_one_node_job_runs_and_its_end_is_reported(
    plane: Any, machines: Callable[..., Any], starts: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    (machine,) = machines()
    began = time.monotonic()
    plane.order(machine.name, *starts([machine], 'echo "hello from $GODWIT_JOB_NAME"'))
    eventually(lambda: "hello from a\n" in plane.text("att-1"), 60, "first line")
    print(f"first line after {time.monotonic() - began:.2f} s")
    end = eventually(lambda: plane.end_of(machine.name), 20, "end")
    assert (end.outcome, end.exit_code) == ("succeeded", 0)
    assert plane.nodes[machine.name].observations[0].type == "command-done"
    assert plane.seen(machine.name, "attempt-running")
    assert machine.processes() == []
