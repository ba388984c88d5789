"""A real Ray Train job takes a node in while it runs, loses it, and goes on."""

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(900)]

TRAIN = """
import time
import ray
from godwit.sdk import ray_train
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

def loop(config):
    import tempfile
    from pathlib import Path
    import torch
    import torch.distributed as dist
    context = train.get_context()
    newest, step = train.get_checkpoint(), 0
    if newest is not None:
        with newest.as_directory() as folder:
            step = int((Path(folder) / "step").read_text())
    while step < 100_000:
        step += 1
        total = torch.ones(1)
        dist.all_reduce(total)
        print("step", step, "world", int(total), flush=True)
        if context.get_world_rank() == 0:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "step").write_text(str(step))
                train.report({"step": step}, checkpoint=train.Checkpoint.from_directory(folder))
        else:
            train.report({"step": step})
        time.sleep(0.5)

ray.init(log_to_driver=True)
trainer = TorchTrainer(
    loop,
    torch_config=TorchConfig(backend="gloo", timeout_s=20),
    scaling_config=ScalingConfig(**ray_train.scaling(), resources_per_worker={"CPU": 1, "GPU": 1}, use_gpu=True),
    run_config=RunConfig(
        name="elastic", storage_path=ray_train.storage_path(), callbacks=ray_train.callbacks(),
        failure_config=FailureConfig(max_failures=8),
    ),
)
trainer.fit()
"""


def steps(told: str, world: int) -> list[int]:
    """The steps that the program says it made in a world of this size; Ray may add that others said the same."""
    return [int(step) for step in re.findall(rf"step (\d+) world {world}\b", told)]


def test_ray_train_takes_a_node_in_loses_it_and_goes_on(
    plane: Any, machines: Callable[..., Any], starts: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    first, second = machines(2)
    env = {"GODWIT_ELASTIC": "in-place", "GODWIT_NODES_MIN": "1", "GODWIT_NODES_MAX": "2"}
    run = f"cat >train.py <<'END'\n{TRAIN}\nEND\npython train.py"
    head, joiner = starts([first, second], run, env=env, bends=True)
    plane.order(first.name, head.model_copy(update={"peers": head.peers[:1]}))
    eventually(lambda: steps(plane.text("att-1"), 1), 240, "it trains on one node")

    plane.order(second.name, joiner.model_copy(update={"joins": True}))
    eventually(lambda: plane.seen(second.name, "attempt-running"), 240, "the node is part of its Ray")
    eventually(lambda: steps(plane.text("att-1"), 2), 240, "it trains on two")
    grown_at = max(steps(plane.text("att-1"), 2))

    second.cut_power()
    told = len(plane.text("att-1"))
    alone = eventually(lambda: steps(plane.text("att-1")[told:], 1), 240, "it goes on alone")
    assert alone[0] >= grown_at - 1, "from its last checkpoint, not from the beginning"
    assert plane.end_of(first.name) is None, "the attempt never ended"
