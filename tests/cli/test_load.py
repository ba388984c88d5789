"""`godwit top` and `godwit nodes` say how hard GPUs work, where agents tell; tables fit 80 columns."""

from typing import Any

import pytest

from tests.cli.scripted import Godwit, ScriptedControlPlane, page
from tests.cli.test_commands import NODE
from tests.cli.test_costs import OVERVIEW, fits


def node(name: str, *busy: float | None) -> dict[str, Any]:
    """A node whose GPUs all are held, and are so busy."""
    first: dict[str, Any] = NODE["gpus"][0]  # type: ignore[index]
    return NODE | {"id": name, "gpus": [first | {"index": i, "busy_percent": one} for i, one in enumerate(busy)]}


def test_a_node_says_how_hard_its_gpus_work(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/nodes", page(node("node-4f0zq1m2k7xv9a", 80.0, 31.0), node("node-silent", None)))
    assert godwit("nodes") == 0
    said = capsys.readouterr().out
    assert fits(said)
    _, told, silent = said.splitlines()[:3]
    assert "2/2 56%" in told
    assert "1/1" in silent
    assert "%" not in silent


def test_nothing_is_said_of_loads_where_nobody_tells_any(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/nodes", page(NODE))
    scripted.on("GET", "/v1/overview", OVERVIEW)
    assert (godwit("nodes"), godwit("top", "--once")) == (0, 0)
    said = capsys.readouterr().out
    assert "1/2 " in said
    assert "works" not in said


def test_one_screen_says_which_programs_run_while_their_gpus_do_not(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = {"id": "job-1", "name": "stuck", "project": "ml", "gpus": 8, "usd_per_hour": 20.0}
    load = {
        "gpus": 12, "busy_percent": 33.4, "quiet_gpus": 8, "quiet_usd_per_hour": 20.0, "quiet_jobs": [quiet],
    }  # fmt: skip
    scripted.on("GET", "/v1/overview", OVERVIEW | {"load": load})
    assert godwit("top", "--once") == 0
    said = capsys.readouterr().out
    assert fits(said)
    assert "works 33% of the time (12 GPUs measured)" in said
    assert "programs run, GPUs do not: 8, $20.00/h" in said
    assert "stuck of ml: 8 GPUs, $20.00/h" in said
