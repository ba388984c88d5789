"""Train a classifier of the handwritten digits that scikit-learn carries, on all nodes of the job, with Ray Train.

    python train.py [--steps 40] [--step-seconds 0.5] [--checkpoint-every 5] [--alone]

A step is one pass over the data. The passes are quick on any machine, so each is paced to `--step-seconds`, for a
person to watch and for something to happen meanwhile; `--step-seconds 0` trains as fast as it can. It goes on exactly
from the checkpoint it is given: model, optimizer, random state and step. All workers together do the same batches in
the same order however many they are, so a job that grew, shrank and moved ends with the model of one that did not.
"""

import argparse
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from godwit.sdk import batch, checkpoint, ray_train
from ray import train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BATCH = 96
"""Of all workers together, so that each of two, three or four has an equal share."""

LEARNING_RATE = 0.02


def load_data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 1,797 digits, 8 x 8 each: every fifth one is for the test, the others are for training."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target)
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def make_model() -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def train_loop(config: dict[str, Any]) -> None:
    """What each worker does."""
    torch.set_num_threads(1)  # a worker has one CPU; alone too, so that the sums are added in the same order
    context = train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    images, labels, *test = load_data()
    torch.manual_seed(7)
    model = DistributedDataParallel(make_model())
    rate = LEARNING_RATE * batch.share(BATCH, world_size=workers, rank=rank).rate_factor
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    shuffles = torch.Generator().manual_seed(11)
    first = restore(model, optimizer, shuffles) + 1
    if first > config["steps"]:
        # A last attempt that was lost right after its last checkpoint leaves nothing to do but to say how it went.
        train.report({"step": first - 1, "total_steps": config["steps"], "accuracy": evaluate(model, *test)})
    for step in range(first, config["steps"] + 1):
        began = time.monotonic()
        order = torch.randperm(len(labels), generator=shuffles)
        loss = one_pass(model, optimizer, images, labels, parts_of(order, rank, workers))
        accuracy = evaluate(model, *test)
        time.sleep(max(0.0, config["step_seconds"] - (time.monotonic() - began)))
        metrics = {"step": step, "total_steps": config["steps"], "loss": loss, "accuracy": accuracy, "workers": workers}
        is_due = checkpoint.due(step)  # all workers get the first one's answer, so they leave at the same step
        if is_due or step % config["checkpoint_every"] == 0 or step == config["steps"]:
            save_and_report(metrics, rank, model, optimizer, shuffles)
        else:
            train.report(metrics)
        if checkpoint.should_stop():
            break  # it moves, or gives way, and goes on elsewhere


def parts_of(order: torch.Tensor, rank: int, workers: int) -> list[torch.Tensor]:
    """This worker's part of each batch of a pass. What is less than a batch waits for the next shuffle."""
    whole = batch.share(BATCH, world_size=workers, rank=rank).whole
    return [order[at : at + whole][rank::workers] for at in range(0, len(order) - whole + 1, whole)]


def one_pass(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    parts: list[torch.Tensor],
) -> float:
    """Train on this worker's part of each batch; returns the mean loss of these."""
    total = 0.0
    for part in parts:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[part]), labels[part])
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(parts)


def evaluate(model: DistributedDataParallel, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of the held-out digits that the model reads correctly."""
    with torch.no_grad():
        return float((model.module(images).argmax(1) == labels).float().mean())


def save_and_report(
    metrics: dict[str, Any],
    rank: int,
    model: DistributedDataParallel,
    optimizer: torch.optim.Optimizer,
    shuffles: torch.Generator,
) -> None:
    """Report with a checkpoint, which rank 0 writes: the workers hold the same state."""
    with tempfile.TemporaryDirectory() as folder:
        if rank == 0:
            state = {
                "step": metrics["step"],
                "model": model.module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "shuffles": shuffles.get_state(),
                "torch_rng": torch.get_rng_state(),
            }
            torch.save(state, Path(folder) / "state.pt")
        train.report(metrics, checkpoint=Checkpoint.from_directory(folder) if rank == 0 else None)


def restore(model: DistributedDataParallel, optimizer: torch.optim.Optimizer, shuffles: torch.Generator) -> int:
    """Load the newest checkpoint, Ray Train's own or the one that godwit restored; returns its step, 0 without one."""
    own = train.get_checkpoint()
    if own is not None:
        with own.as_directory() as folder:
            return load_state(Path(folder), model, optimizer, shuffles)
    restored = ray_train.restored()
    return 0 if restored is None else load_state(restored, model, optimizer, shuffles)


def load_state(
    folder: Path, model: DistributedDataParallel, optimizer: torch.optim.Optimizer, shuffles: torch.Generator
) -> int:
    """Load everything that training needs to go on as if nothing had happened."""
    state = torch.load(folder / "state.pt", weights_only=True)
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    shuffles.set_state(state["shuffles"])
    torch.set_rng_state(state["torch_rng"])
    return int(state["step"])


class Told(UserCallback):  # type: ignore[misc]  # Ray is not typed here
    """Prints each step once all workers have done it; from Ray Train's controller, which outlives them."""

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """One line: how far it is, how well, and who did it."""
        del run_context, checkpoint
        first, attempt = metrics[0], os.environ.get("GODWIT_EPOCH", "0")
        done, loss = f"step {first['step']}/{first['total_steps']}", first.get("loss", math.nan)
        what = f"{done} loss {loss:.4f} accuracy {first['accuracy']:.4f}"
        print(f"{what} workers {len(metrics)} attempt {attempt}", flush=True)


def scaling(*, alone: bool) -> ScalingConfig:
    """One worker for each node of the job; `alone`: this very process, without a Ray cluster."""
    if alone:
        # Ray Train's local mode joins the process group that torchrun would have made.
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        return ScalingConfig(num_workers=0)
    is_job = "GODWIT_NUM_NODES" in os.environ
    needs = {"CPU": 1, "GPU": 1} if is_job else {"CPU": 1}
    return ScalingConfig(**ray_train.scaling(), use_gpu=is_job, resources_per_worker=needs)


def main() -> None:
    """Train on as many workers as the job has nodes, and print the accuracy."""
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits with Ray Train.")
    parser.add_argument("--steps", type=int, default=40, help="passes over the data")
    parser.add_argument("--step-seconds", type=float, default=0.5, help="the least that a pass takes")
    parser.add_argument("--checkpoint-every", type=int, default=5, help="passes between checkpoints")
    parser.add_argument("--alone", action="store_true", help="in this process, without a fleet or a Ray cluster")
    chosen = parser.parse_args()
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=vars(chosen),
        # The GPU is what the job pays for; with simulated ones the work is the CPU's, hence gloo.
        torch_config=TorchConfig(backend="gloo", timeout_s=60),
        scaling_config=scaling(alone=chosen.alone),
        run_config=RunConfig(
            name="digits",
            storage_path=ray_train.storage_path(),
            callbacks=[*ray_train.callbacks(), Told()],
            # A worker that dies on a living node is Ray Train's to replace; a node that dies is godwit's, or with
            # `elastic: in-place` first a failure to Ray Train, which then goes on with the others.
            failure_config=FailureConfig(max_failures=8 if os.environ.get("GODWIT_ELASTIC") == "in-place" else 2),
            checkpoint_config=CheckpointConfig(num_to_keep=3),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    result = trainer.fit()
    print(f"accuracy {result.metrics['accuracy']:.4f} after {result.metrics['step']} steps", flush=True)


if __name__ == "__main__":
    main()
