"""The submitter's folder as an archive: bounded, the same bytes for the same files, and nothing from outside."""

import gzip
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from godwit.cli import figures, ignore
from godwit.cli.exits import ExitCode, Failure

PACKED_MAX_BYTES = 256 << 20
"""What PUT /v1/archives takes."""

UNPACKED_MAX_BYTES = 1 << 30
FILES_MAX = 20_000
"""Code, not data: nodes unpack it before every attempt. Data belongs into a store that the program reads."""

SCAN_MAX = 200_000
"""Looking stops here: enough to name what is large even when somebody gives `/` as workdir."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or link of the workdir; `relative` has slashes, `link` is what a link points to, rewritten."""

    path: Path
    relative: str
    mode: int
    size_bytes: int
    link: str | None = None


@dataclass(frozen=True)
class Archive:
    """A packed workdir. `file` is an unnamed temporary file that vanishes when closed."""

    file: BinaryIO
    digest: str
    size_bytes: int
    files: int
    unpacked_bytes: int


def pack(workdir: Path) -> Archive:
    """Pack the folder; raises `Failure` (usage) that names the folder, the link or the largest entries at fault."""
    entries = scan(workdir)
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the archive owns it
    bounded = _Bounded(file, workdir, entries)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=cast(IO[bytes], bounded), mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for entry in entries:
            _add(tar, entry)
    file.seek(0)
    count = sum(1 for entry in entries if stat.S_ISREG(entry.mode))
    return Archive(file, bounded.sha256.hexdigest(), bounded.size_bytes, count, _total(entries))


def scan(workdir: Path) -> list[Entry]:
    """What would be packed, sorted by path; raises `Failure` (usage) when it may not be."""
    if not workdir.is_dir():
        what = "is not a folder" if workdir.exists() else "does not exist"
        raise Failure(f"workdir: {workdir} {what}; it is taken relative to the specification", ExitCode.USAGE)
    root = workdir.resolve()
    entries = []
    for entry in _walk(root, root, ignore.patterns(root)):
        entries.append(entry)
        if len(entries) >= SCAN_MAX:
            break
    files = sum(1 for entry in entries if not stat.S_ISDIR(entry.mode))
    if files > FILES_MAX:
        raise _too_large(workdir, entries, f"holds {files:,} files; at most {FILES_MAX:,} are sent")
    if _total(entries) > UNPACKED_MAX_BYTES:
        is_now, allowed = figures.size(_total(entries)), figures.size(UNPACKED_MAX_BYTES)
        raise _too_large(workdir, entries, f"holds {is_now}; at most {allowed} are sent")
    return sorted(entries, key=lambda entry: entry.relative)


class _Bounded:
    """Where gzip writes: counts and hashes, and stops at the bound instead of filling the disk."""

    def __init__(self, file: BinaryIO, workdir: Path, entries: list[Entry]) -> None:
        self._file, self._workdir, self._entries = file, workdir, entries
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self.size_bytes += len(data)
        if self.size_bytes > PACKED_MAX_BYTES:
            message = f"is more than {figures.size(PACKED_MAX_BYTES)} when packed"
            raise _too_large(self._workdir, self._entries, message)
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _walk(folder: Path, root: Path, patterns: tuple[ignore.Pattern, ...]) -> Iterator[Entry]:
    try:
        found = sorted(os.scandir(folder), key=lambda item: item.name)
    except OSError as exc:
        raise Failure(f"workdir: {folder} cannot be read: {exc.strerror}", ExitCode.USAGE) from exc
    for item in found:
        path = Path(item.path)
        relative = path.relative_to(root).as_posix()
        is_folder = item.is_dir(follow_symlinks=False)
        if ignore.is_ignored(patterns, relative, is_folder):
            continue
        status = item.stat(follow_symlinks=False)
        yield _entry(path, relative, status, root)
        if is_folder:
            yield from _walk(path, root, patterns)


def _entry(path: Path, relative: str, status: os.stat_result, root: Path) -> Entry:
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, relative, status.st_mode, 0, _link_within(path, relative, root))
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        message = f"workdir: {relative} is a socket, a pipe or a device; name it in {ignore.FILE} to leave it behind"
        raise Failure(message, ExitCode.USAGE)
    return Entry(path, relative, status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0)


def _link_within(path: Path, relative: str, root: Path) -> str:
    # A link that names its target by way of the outside would point nowhere on a node, so it is made relative.
    target = os.readlink(path)
    resolved = Path(os.path.realpath(path))
    if not resolved.is_relative_to(root):
        raise Failure(
            f"workdir: the link {relative} leads out of the folder, to {target}; "
            f"put a copy in its place, or name it in {ignore.FILE} to leave it behind",
            ExitCode.USAGE,
        )
    inside = not os.path.normpath(os.path.join(os.path.dirname(relative), target)).startswith(("..", "/"))
    # Nodes take no step up behind a name: that name may be a link, and the step lead anywhere.
    plain = ".." not in target.lstrip("./").split("/")
    return target if inside and plain else os.path.relpath(resolved, path.parent)


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.relative)
    info.mode = 0o755 if stat.S_ISDIR(entry.mode) or entry.mode & stat.S_IXUSR else 0o644
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    else:
        info.size = entry.size_bytes
        try:
            with entry.path.open("rb") as content:
                tar.addfile(info, content)
        except OSError as exc:
            reason = exc.strerror or f"it changed while it was packed ({exc}); try again"
            raise Failure(f"workdir: {entry.relative} cannot be read: {reason}", ExitCode.USAGE) from exc


def _total(entries: list[Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)


def _too_large(workdir: Path, entries: list[Entry], what: str) -> Failure:
    sizes: dict[str, list[int]] = {}
    for entry in entries:
        if not stat.S_ISDIR(entry.mode):
            sizes.setdefault(entry.relative.split("/", 1)[0], []).append(entry.size_bytes)
    largest = sorted(sizes.items(), key=lambda item: (sum(item[1]), len(item[1])), reverse=True)[:3]
    lines = [f"  {figures.size(sum(each)):>10}  {len(each):>6} files  {name}" for name, each in largest]
    message = f"workdir: {workdir} {what}; its largest entries are\n" + "\n".join(lines)
    hint = f"\nname what the job does not need in {workdir / ignore.FILE}, or let the program read data from a store"
    return Failure(message + hint, ExitCode.USAGE)
