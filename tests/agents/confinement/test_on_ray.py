"""A Ray whose processes all are the attempt's user, its own or one that stood by."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.confinement import places

pytestmark = [
    places.as_root, pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540),
]  # fmt: skip

ASKS_RAY = """
import os, ray
ray.init()

@ray.remote
def who():
    return os.getuid(), os.access(os.environ["CREDENTIAL"], os.R_OK)

print("asked", os.getuid(), *ray.get(who.remote()), flush=True)
"""


@pytest.mark.parametrize("warm", ["false", "true"])
def test_ray_and_its_workers_are_the_attempts_user(
    plane: Any, machines: Callable[..., Any], starts: Callable[..., Any], eventually: Any, warm: str
) -> None:
    python = places.python_of_jobs(needs="import ray")
    (machine,) = machines(more={"GODWIT_CONFINE": "require", "GODWIT_PYTHON": python, "GODWIT_WARM_RAY": warm})
    if warm == "true":
        shelf = machine.folder / "standby"
        eventually(
            lambda: [one for one in shelf.glob("*/ray.log") if b"started" in one.read_bytes()], 300, "it stands by"
        )
    env = {"CREDENTIAL": str(machine.folder / "credential")}
    run = f"cat >it.py <<'END'\n{ASKS_RAY}\nEND\n{python} it.py; id -u"
    plane.order(machine.name, *starts([machine], run, env=env))
    end = eventually(lambda: plane.end_of(machine.name), 300, "it ended")
    text = plane.text("att-1")
    assert end.outcome == "succeeded", text
    uid = text.split()[-1]
    assert int(uid) > 0
    assert f"asked {uid} {uid} False" in text
