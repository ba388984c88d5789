"""The job's workdir: fetched from the control plane, unpacked with suspicion."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from godwit.agents.link import Link
from godwit.domain.errors import GodwitError

UNPACKED_BYTES_MAX = 4 * 1024**3
"""16 times the largest archive that the control plane takes; gzip on source code makes 3 to 5 times."""

MEMBERS_MAX = 200_000


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
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(target, members=_bounded(tar), filter="data")
    except (tarfile.TarError, OSError, EOFError) as exc:
        raise WorkdirRefused(f"the workdir's archive cannot be unpacked: {exc}") from exc


def _bounded(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    size = 0
    for count, member in enumerate(tar):
        size += member.size
        if count >= MEMBERS_MAX or size > UNPACKED_BYTES_MAX:
            raise WorkdirRefused(
                f"the workdir holds more than {MEMBERS_MAX} files or {UNPACKED_BYTES_MAX >> 30} GiB unpacked; "
                "leave data out of it and read it from storage"
            )
        yield member
