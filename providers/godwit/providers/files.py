"""Files that only this user reads, and that a crash leaves either old or new."""

import os
import tempfile
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make the folder, with its parents, for this user only; returns it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step (mode 0600): a reader, or a restart after kill -9, sees the old or the new."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def drop_if_empty(path: Path) -> None:
    """Remove the folder when nothing lies in it."""
    try:
        path.rmdir()
    except OSError:
        return  # others still use it, or it is gone already
