"""Checkpoints of states that many processes hold in parts, with torch.distributed.checkpoint.

    sharded.load(state_dict)                    # False: start from nothing
    ...
    if checkpoint.due(step):                    # the same answer in every process
        sharded.save(step, state_dict)          # every process calls it

Each process writes its own shards to its node's disk; the checkpoint is committed once the shards of all nodes are in
the store. When it is restored every node gets all files, so that other numbers of processes can read it.
"""

import os
import time
from pathlib import Path
from typing import Any

from godwit.sdk import checkpoint


def save(step: int, state_dict: dict[str, Any]) -> Path:
    """Save `state_dict` (as torch.distributed.checkpoint takes it); a collective call, like the one of PyTorch.

    Returns the path on this node, `checkpoint-<step>`. What PyTorch raises gets out, and leaves no checkpoint behind.
    """
    import torch.distributed as dist  # noqa: PLC0415 - only programs that use it pay for it
    import torch.distributed.checkpoint as dcp  # noqa: PLC0415

    began = time.monotonic()
    folder = checkpoint.directory()
    draft = folder / f".checkpoint-{step}.shards.tmp"
    dcp.save(state_dict, checkpoint_id=draft)
    # Every process is done once the call returns: it ends with what the coordinator says. Of those that share a folder
    # the first one gives the checkpoint its name; all nodes know this save by the first process's clock.
    said: list[tuple[str, int]] = [("", 0)] * dist.get_world_size()
    dist.all_gather_object(said, (f"{os.environ.get('GODWIT_NODE_RANK', '')}:{folder.absolute()}", time.time_ns()))
    homes = [home for home, _ in said]
    own = homes[dist.get_rank()]
    if homes.index(own) == dist.get_rank():
        part = checkpoint.Part(len(set(homes)), said[0][1], first=own == homes[0])
        checkpoint.adopt(step, draft, began, part)
    dist.barrier()
    return folder / f"checkpoint-{step}"


def load(state_dict: dict[str, Any]) -> bool:
    """Load the latest checkpoint into `state_dict`, in place; a collective call. False when there is none."""
    import torch.distributed.checkpoint as dcp  # noqa: PLC0415 - only programs that use it pay for it

    found = checkpoint.latest()
    if found is None:
        return False
    dcp.load(state_dict, checkpoint_id=found)
    return True
