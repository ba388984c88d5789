"""The job's workdir: fetched from the control plane, unpacked with suspicion."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from godwit.agents import unpacking
from godwit.agents.confinement import owner
from godwit.agents.link import Link
from godwit.domain.errors import GodwitError
from godwit.domain.plain_text import visible

UNPACKED_BYTES_MAX = 4 * 1024**3
"""16 times the largest archive that the control plane takes; gzip on source code makes 3 to 5 times."""

MEMBERS_MAX = 200_000
READ_BYTES_MAX = 1 << 20
"""tarfile copies files in pieces of 16 KiB; an extended header holds a path, and times."""


class WorkdirRefused(GodwitError):
    """The archive holds something that a workdir must not; nothing will run."""


def prepare(link: Link, digest: str | None, target: Path) -> None:
    """Fill `target` with the workdir; harmless to repeat, also after a stop half way.

    Raises `Unreachable` (try again) or `WorkdirRefused`.
    """
    done = target.parent / "workdir.done"
    if digest is None or done.exists():
        return
    archive = target.parent / "workdir.tar.gz"
    link.download(digest, archive)
    unpack(archive, target)
    archive.unlink()
    done.touch()


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .tar.gz below `target`: no path or link may leave it, no device, no more than the bounds.

    Raises `WorkdirRefused`, which names the member.
    """
    try:
        with gzip.open(archive) as content, owner.acting(target), _read(content) as tar:
            members = map(unpacking.plain, _bounded(tar))
            tar.extractall(target, members=members, **unpacking.filtered("data"))  # noqa: S202 - each is judged
    except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError, zlib.error) as exc:
        raise WorkdirRefused(f"the workdir's archive cannot be unpacked: {visible(str(exc), one_line=True)}") from exc


def _read(content: gzip.GzipFile) -> tarfile.TarFile:
    return unpacking.Unowned.open(fileobj=_Metered(content), mode="r:")


class _Metered(io.BufferedIOBase):
    """Unpacked bytes, never many at once and no more than a workdir may have, whatever the headers claim.

    tarfile reads an extended header as a whole, in the size that the header itself gives; everything else in pieces.
    """

    def __init__(self, content: BinaryIO | gzip.GzipFile) -> None:
        self._content = content
        self._most = UNPACKED_BYTES_MAX + MEMBERS_MAX * 4 * tarfile.BLOCKSIZE

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        if size is None or not 0 <= size <= READ_BYTES_MAX:
            raise WorkdirRefused(f"the workdir's archive has a header of more than {READ_BYTES_MAX} bytes")
        read = self._content.read(size)
        self._check(self._content.tell())
        return read

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go on elsewhere, as over what is not wanted; that is unpacked too."""
        self._check(offset)
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """How far it is."""
        return self._content.tell()

    def _check(self, size: int) -> None:
        if size > self._most:
            raise _too_much()


def _bounded(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, each judged before it is unpacked.

    The filter of the standard library judges links by where they lead on this disk, and could be led astray by long
    paths (CVE-2025-4517, CVE-2025-4330, both mended in Python 3.11.13 and later). So links are judged by their text
    alone here, and nothing is written by way of one.
    """
    size, seen, links = 0, set[str](), set[str]()
    for count, member in enumerate(tar):
        size += member.size
        if count >= MEMBERS_MAX or size > UNPACKED_BYTES_MAX:
            raise _too_much()
        why = _refusal(member, seen, links)
        if why is not None:
            raise WorkdirRefused(f"the workdir's archive holds {visible(member.name, one_line=True)[:200]!r}: {why}")
        yield member


def _refusal(member: tarfile.TarInfo, seen: set[str], links: set[str]) -> str | None:
    parts = [part for part in member.name.split("/") if part not in {"", "."}]
    if ".." in parts:
        return "a path that leaves the folder"
    if not (member.isreg() or member.isdir() or member.issym()):
        return "neither a file, nor a folder, nor a symbolic link"
    above = {"/".join(parts[:length]) for length in range(1, len(parts))}
    if above & links:
        return "a path that goes through a link"
    name = "/".join(parts)
    if name in links or (name in seen and not member.isdir()):
        return "the same path twice"
    seen.add(name)
    if member.issym():
        links.add(name)
        return _link_refusal(member.linkname, depth=len(parts) - 1)
    return None


def _link_refusal(target: str, depth: int) -> str | None:
    """Folders above a link are real ones, so as many steps up as it is deep stay inside; none may follow a name."""
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or ups > depth or ".." in parts[ups:]:
        return f"a link that leads out of the folder, or may: {visible(target, one_line=True)[:200]!r}"
    return None


def _too_much() -> WorkdirRefused:
    return WorkdirRefused(
        f"the workdir holds more than {MEMBERS_MAX} files or {UNPACKED_BYTES_MAX >> 30} GiB unpacked; "
        "leave data out of it and read it from storage"
    )
