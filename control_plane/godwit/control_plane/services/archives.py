"""Uploaded workdirs: files named by their SHA-256, so that the same upload twice is one."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shutil import disk_usage

from godwit.domain.errors import InvalidRequest, NotFound, TooLarge

MAX_BYTES = 256 * 1024 * 1024
"""Code travels in a workdir; data sets and weights belong into a store."""

FREE_BYTES_MIN, LOOK_BYTES = 512 * 1024 * 1024, 16 * 1024 * 1024
"""What uploads leave of the disk, for the database and logs that may lie there too; and how often that is looked at."""


class Shelf:
    """A folder of archives. `free_bytes` is how much room the disk has, asked while an upload comes."""

    def __init__(self, folder: Path, free_bytes: Callable[[Path], int] = lambda path: disk_usage(path).free) -> None:
        self._folder, self._free_bytes = folder, free_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Where an archive lies. Raises `NotFound`."""
        path = self._folder / f"{digest}.tar.gz"
        if not path.is_file():
            raise NotFound(f"no archive {digest} was uploaded")
        return path

    def has(self, digest: str) -> bool:
        """Whether an archive is here."""
        return (self._folder / f"{digest}.tar.gz").is_file()

    async def put(self, digest: str, chunks: AsyncIterator[bytes]) -> int:
        """Store an upload; returns its size.

        Raises `TooLarge`, also where the disk is nearly full, or `InvalidRequest` when the content does not match.
        """
        temporary = self._folder / f".{digest}.{os.getpid()}.{id(chunks):x}"
        seen, size, looked_at = hashlib.sha256(), 0, -LOOK_BYTES
        try:
            with temporary.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise TooLarge(f"the workdir is larger than {MAX_BYTES // 2**20} MiB packed")
                    if size - looked_at >= LOOK_BYTES:
                        looked_at = size
                        self._refuse_to_fill_the_disk()
                    seen.update(chunk)
                    file.write(chunk)
            if seen.hexdigest() != digest:
                raise InvalidRequest(f"the content's SHA-256 is {seen.hexdigest()}, not {digest}; send it again")
            temporary.replace(self._folder / f"{digest}.tar.gz")
        finally:
            temporary.unlink(missing_ok=True)
        return size

    def _refuse_to_fill_the_disk(self) -> None:
        free = self._free_bytes(self._folder)
        if free < FREE_BYTES_MIN:
            raise TooLarge(
                f"the control plane's disk has {free >> 20} MiB left, and uploads leave {FREE_BYTES_MIN >> 20}; "
                "its operator makes room: archives of jobs that are over may be removed from its home"
            )
