"""On real Ray: an attempt takes the one that stands by, its program sees no difference, and no other gets it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.runtime.folder import AttemptFolder, StoodBy
from godwit.agents.runtime.standby import SHELF

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(900)]

PROGRAM = """
import os
import ray

names = ("GREETING", "GODWIT_ATTEMPT_ID", "GODWIT_CHECKPOINT_DIR", "RAY_AUTH_TOKEN")

@ray.remote(num_gpus=1)
def seen():
    return [os.environ.get(name) for name in names], os.environ["CUDA_VISIBLE_DEVICES"]

ray.init(log_to_driver=False)
there, gpus = ray.get(seen.remote())
print("same", there == [os.environ.get(name) for name in names], "gpus", gpus, ray.cluster_resources()["GPU"])
print(os.environ["GREETING"], os.environ["GODWIT_ATTEMPT_ID"])
"""


def standing(node_dir: Path) -> StoodBy | None:
    """What stands by on the node and is up."""
    for path in (node_dir / SHELF).glob("*"):
        folder = AttemptFolder(node_dir, path.name, SHELF)
        if folder.ray_is_up():
            return folder.stood_by()
    return None


def test_an_attempt_takes_the_ray_that_stands_by_and_the_next_one_gets_another(
    plane: Any, machines: Callable[..., Any], starts: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    (machine,) = machines(gpus=1, more={"GODWIT_WARM_RAY": "true"})
    first = eventually(lambda: standing(machine.folder), 240, "a Ray stands by")
    run = f"cat >program.py <<'END'\n{PROGRAM}\nEND\npython program.py; while [ ! -e go ]; do sleep 0.1; done"
    plane.order(machine.name, *starts([machine], run, env={"GREETING": "hello there"}))
    taken = eventually(lambda: AttemptFolder(machine.folder, "att-1").stood_by(), 30, "it was taken")
    assert taken == first
    eventually(lambda: "hello there att-1\n" in plane.text("att-1"), 240, "it runs")
    machine.kill_agent()
    machine.boot()
    (AttemptFolder(machine.folder, "att-1").workdir / "go").touch()
    end = eventually(lambda: plane.end_of(machine.name), 240, "end")
    assert (end.outcome, end.exit_code) == ("succeeded", 0), end
    assert plane.text("att-1").splitlines()[-2:] == ["same True gpus 0 1.0", "hello there att-1"]

    second = eventually(lambda: standing(machine.folder), 240, "another one stands by")
    assert (second.token, second.ray) != (first.token, first.ray)
    assert not Path(first.ray).exists()
    plane.dismiss = True
    eventually(lambda: not machine.processes(), 60, f"nothing stays: {machine.processes()}")
