"""Leave checkpoints where godwit finds them, and find the one to go on from.

def write(folder):
    torch.save(state, folder / "state.pt")

checkpoint.save(step, write)
...
path = checkpoint.latest()          # None: start from nothing
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"^checkpoint-(\d+)$")

KEPT = 2
"""How many of this program's checkpoints stay on the node's disk: godwit has copied the older ones by then."""


def directory() -> Path:
    """The folder for checkpoints: GODWIT_CHECKPOINT_DIR, or `./checkpoints` outside of godwit. It exists."""
    folder = Path(os.environ.get("GODWIT_CHECKPOINT_DIR") or "checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def latest() -> Path | None:
    """What to go on from: the newest checkpoint saved here, else the one that godwit restored, else None."""
    saved = _saved()
    if saved:
        return saved[-1]
    return restored()


def restored() -> Path | None:
    """The checkpoint that godwit placed on this node before the program started, or None."""
    named = os.environ.get("GODWIT_RESTORED_CHECKPOINT")
    if not named and (folder := os.environ.get("GODWIT_RUN_DIR")):
        # Processes that Ray started before the restore was done find the path here.
        note = Path(folder) / "restored"
        named = note.read_text() if note.exists() else None
    return Path(named) if named and Path(named).exists() else None


def save(step: int, write: Callable[[Path], None]) -> Path:
    """Save a checkpoint: `write(folder)` fills an empty folder; it counts only once it is complete and on disk.

    Returns its path, `checkpoint-<step>`. Whatever `write` raises gets out, and leaves no checkpoint behind.
    """
    folder = directory()
    draft = folder / f".checkpoint-{step}.{os.getpid()}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        write(draft)
        _sync(draft)
        target = folder / f"checkpoint-{step}"
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync_one(folder)
    for old in _saved()[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _saved() -> list[Path]:
    found = [(int(match[1]), path) for path in directory().iterdir() if (match := _NAME.match(path.name))]
    return [path for _, path in sorted(found)]


def _sync(folder: Path) -> None:
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_one(Path(root) / name)
        _sync_one(Path(root))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
