"""States of programs: copying them aside, writing them, reading them. PyTorch is used where the program has it."""

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

TORCH_FILE = "state.pt"
PLAIN_FILE = "state.pickle"


def copied(state: Any) -> Any:
    """The state as it is now, in the CPU's memory, independent of what the program does next.

    Things with a `state_dict()` (models, optimizers, schedulers) are replaced by it, at any depth of dicts and lists.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if hasattr(state, "state_dict") and not isinstance(state, type):
        return copied(state.state_dict())
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(copied(value) for value in state))
    if isinstance(state, list | tuple):
        return type(state)(copied(value) for value in state)
    return copy.deepcopy(state)


def plain(state: Any) -> Any:
    """The state with `state_dict()` called where there is one, nothing copied."""
    if hasattr(state, "state_dict") and not isinstance(state, type):
        return state.state_dict()
    return {key: plain(value) for key, value in state.items()} if isinstance(state, dict) else state


def write(state: Any, folder: Path) -> None:
    """Write the state into the folder: with `torch.save` in a program that uses PyTorch, else pickled."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.save(state, folder / TORCH_FILE)
        return
    with (folder / PLAIN_FILE).open("wb") as file:
        pickle.dump(state, file)


def read(folder: Path, **options: Any) -> Any:
    """What `write` wrote; `options` go to `torch.load`. Raises `FileNotFoundError` for a folder that others filled."""
    if (folder / TORCH_FILE).exists():
        import torch  # noqa: PLC0415 - only programs that use it have such a file

        return torch.load(folder / TORCH_FILE, **{"map_location": "cpu", **options})
    with (folder / PLAIN_FILE).open("rb") as file:
        return pickle.load(file)  # noqa: S301 - the program's own file, restored by its checksum
