"""An agent that the control plane does not know any more ends what it runs, and asks to join again."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("ray")


def test_an_agent_whose_credential_is_not_known_any_more_joins_again_when_it_is_started_again(
    plane: Any, machines: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    (machine,) = machines(more={"GODWIT_WARM_RAY": "false"})
    eventually(lambda: machine.name in plane.nodes and plane.nodes[machine.name].heartbeats, 60, "it is heard")
    known = plane.nodes[machine.name].join.agent_id
    plane.forgets = True
    assert eventually(lambda: machine.process.poll() is not None, 60, "the agent ends")
    assert machine.process.returncode == 1, "which asks for another start"
    plane.forgets = False
    del plane.nodes[machine.name]
    machine.boot()
    eventually(lambda: machine.name in plane.nodes and plane.nodes[machine.name].heartbeats, 60, "it is heard again")
    assert plane.nodes[machine.name].join.agent_id == known
    plane.dismiss = True
    assert eventually(lambda: machine.process.poll() is not None, 60, "the agent leaves")
    assert machine.process.returncode == 0, "told to go for good"
