"""The agent's hands in folders that a program may write: it acts there as the folder's owner.

A program may put a link wherever it may write, in place of a file that the agent reads or writes. As the owner of the
folder the agent opens no more through it than the program itself could. `folder` is always one that the agent made in
a folder of its own, so that its owner is no word of the program's. Where nobody is confined nothing changes.
"""

import ctypes
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SMALL_BYTES_MAX = 1 << 20
"""What is read whole of a file that a program wrote: pids, exit codes, notes."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def acting(folder: Path) -> Iterator[None]:
    """This thread's file accesses are those of the folder's owner in here; start no thread and no process in it.

    setfsuid(2) is of one thread alone, and takes the capabilities over files along.
    """
    uid = _foreign_owner(folder)
    if uid is None:
        yield
        return
    gid_before, uid_before = _libc.setfsgid(uid), _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(uid_before)
        _libc.setfsgid(gid_before)


def give(path: Path, like: Path) -> None:
    """Make a file of the agent's, or a folder with all that it holds, the property of whoever owns `like`."""
    uid = _foreign_owner(like)
    if uid is None:
        return
    os.chown(path, uid, uid, follow_symlinks=False)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(folder, name), uid, uid, follow_symlinks=False)


def opened(folder: Path, path: Path) -> BinaryIO:
    """A file below `folder`, for reading; raises `OSError`, also for what is no file: a pipe would never end."""
    with acting(folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


def text(folder: Path, path: Path) -> str:
    """A small text, as far as it goes; raises `OSError` as `opened` does."""
    with opened(folder, path) as file:
        return file.read(SMALL_BYTES_MAX).decode("utf-8", "replace")


def link(folder: Path, source: Path, target: Path) -> None:
    """Give a file below `folder` a second name outside of it: the file that its owner may read, wherever a link led.

    Raises `OSError`.
    """
    with opened(folder, source) as file:
        here = os.open("/", os.O_PATH)
        try:
            # By its descriptor: a path might lead elsewhere by now. A folder makes Python ask for links to be followed.
            os.link(f"/proc/self/fd/{file.fileno()}", target, src_dir_fd=here, follow_symlinks=True)
        finally:
            os.close(here)


def _foreign_owner(folder: Path) -> int | None:
    if os.geteuid() != 0:
        return None
    try:
        uid = os.lstat(folder).st_uid
    except FileNotFoundError:
        return None  # nobody owns it, and there is nothing in it
    return None if uid == 0 else uid
