"""Uploaded workdirs: files named by their SHA-256, so that the same upload twice is one."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from godwit.domain.errors import InvalidRequest, NotFound, TooLarge

MAX_BYTES = 256 * 1024 * 1024
"""Code travels in a workdir; data sets and weights belong into a store."""


class Shelf:
    """A folder of archives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
        """Store an upload; returns its size. Raises `TooLarge`, or `InvalidRequest` when the content does not match."""
        temporary = self._folder / f".{digest}.{os.getpid()}.{id(chunks):x}"
        seen, size = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise TooLarge(f"the workdir is larger than {MAX_BYTES // 2**20} MiB packed")
                    seen.update(chunk)
                    file.write(chunk)
            if seen.hexdigest() != digest:
                raise InvalidRequest(f"the content's SHA-256 is {seen.hexdigest()}, not {digest}; send it again")
            temporary.replace(self._folder / f"{digest}.tar.gz")
        finally:
            temporary.unlink(missing_ok=True)
        return size
