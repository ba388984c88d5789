"""Uploaded workdirs: files named by their SHA-256, so that the same upload twice is one."""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Collection
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
        """Where an archive lies, which counts as its use. Raises `NotFound`."""
        if not self.has(digest):
            raise NotFound(f"no archive {digest} was uploaded")
        return self._folder / f"{digest}.tar.gz"

    def has(self, digest: str) -> bool:
        """Whether an archive is here. Who asks is about to use it, so that it is kept for as long as a new one."""
        try:
            os.utime(self._folder / f"{digest}.tar.gz")
        except FileNotFoundError:
            return False
        return True

    def forget(self, before: float, needed: Collection[str]) -> dict[str, int]:
        """Remove what was last used before then, but for the needed digests; returns digests and sizes in bytes.

        Uploads that were broken off by the end of a process go too.
        """
        removed = dict[str, int]()
        for path in self._folder.glob("*"):
            digest = path.name.removesuffix(".tar.gz")
            is_whole = digest != path.name
            with contextlib.suppress(FileNotFoundError):  # another control plane may do the same
                seen = path.stat()
                if seen.st_mtime < before and not (is_whole and digest in needed):
                    path.unlink()
                    removed[digest] = seen.st_size
        return removed

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
                "its operator makes room, or has it keep less (`keeping:` in config.yaml)"
            )
