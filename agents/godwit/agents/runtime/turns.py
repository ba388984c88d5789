"""Turns: of the steps on a machine that name the same file, one starts at a time.

The kernel ends a turn with its holder. It needs nothing but the standard library: the guard takes it.
"""

import fcntl
import os
from types import TracebackType
from typing import Self


class Turn:
    """A turn to be had, with nothing to wait for where no file is named or it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        self.held = False

    def __enter__(self) -> Self:
        if self._path:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError:
                self._file = None  # another user's: turns are a courtesy, and work goes on without
        return self

    def taken(self) -> bool:
        """Take it if nobody has it; whether there is nothing more to wait for."""
        if self._file is None or self.held:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.held = True
        return True

    def give_back(self) -> None:
        """Let the next one start."""
        if self._file is not None:
            os.close(self._file)
        self._file, self.held = None, False

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.give_back()
