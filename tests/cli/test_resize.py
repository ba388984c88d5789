"""How many nodes a job should have, and what `explain` says of it."""

import json

import pytest
from godwit.cli.commands import explain
from godwit.cli.exits import ExitCode
from godwit.domain.wire.sizes import SizeView

from tests.cli.scripted import Godwit, ScriptedControlPlane, job


def test_resize_puts_the_wish_or_gives_it_back(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("PUT", "/v1/jobs/digits/size", job(nodes="2..8"))
    assert godwit("resize", "digits", "--nodes", "4") == 0
    assert "4 of 2..8 nodes wanted" in capsys.readouterr().out
    assert godwit("resize", "digits", "--auto") == 0
    assert "left to the planner" in capsys.readouterr().out
    assert [json.loads(request.content) for request in scripted.asked] == [{"nodes": 4}, {"nodes": None}]
    assert godwit("resize", "digits") == ExitCode.USAGE


def test_explain_says_how_many_nodes_a_job_has_and_should_have() -> None:
    waits = SizeView(nodes=1, target=4, wanted=4, why="its owner wants 4; 3 nodes are on their way for it")
    assert explain.sized(waits) == "nodes: 1, should be 4: its owner wants 4; 3 nodes are on their way for it"
    assert explain.sized(SizeView(nodes=2, target=2, why="the planner's choice")) == "nodes: 2: the planner's choice"
