"""A home folder as a checkpoint: packed into archives that stay the same where nothing changed, and unpacked again.

    <entry>/tree.tar          folders, symbolic links and what has no content, with their permissions
    <entry>/pack-17.tar       small files, shared out by their paths
    <entry>/large-8f3c….tar   one large file

Copies of checkpoints leave out what is there already, archive by archive, so a small change costs a small archive.
Standard library only: the desk runs without the packages of the site.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.unpacking import filtered

PACKS = 64
"""Archives that small files are shared out to: one that changed is copied with a 64th of the others."""

LARGE_BYTES = 4 << 20
"""A file of this size has an archive of its own."""

LEFT_OUT = frozenset(
    {
        ".cache", ".ccache", ".npm/_cacache", ".conda/pkgs", ".nv/ComputeCache", ".triton/cache", ".local/share/Trash",
        ".cargo/registry", ".vscode-server/data/CachedExtensionVSIXs",
    }
)  # fmt: skip
"""Folders of the home that are not saved: programs fill them again. docs/dev.md names them."""

LEFT_OUT_ANYWHERE = frozenset({"__pycache__", ".ipynb_checkpoints"})


class TooLarge(Exception):
    """The home folder is larger than it may be; `size_bytes` is what was counted until that was clear."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the home folder has more than {size_bytes} bytes")
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class Found:
    """Something in the home: its path there, and what changes when it does."""

    path: str
    mode: int
    size: int
    mtime_ns: int
    inode: int


def look(home: Path) -> list[Found]:
    """Everything in the home that is saved, sorted; what vanishes meanwhile is left out."""
    return sorted(_walk(home, ""), key=lambda one: one.path)


def _walk(home: Path, below: str) -> Iterator[Found]:
    try:
        with os.scandir(home / below) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return  # it is gone, or its owner closed it even to itself
    for name in names:
        path = f"{below}/{name}" if below else name
        if name in LEFT_OUT_ANYWHERE or path in LEFT_OUT:
            continue
        try:
            seen = (home / path).lstat()
        except OSError:
            continue
        kind = stat.S_IFMT(seen.st_mode)
        if kind in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:  # sockets and pipes end with their programs
            size = seen.st_size if kind == stat.S_IFREG else 0
            yield Found(path, seen.st_mode, size, seen.st_mtime_ns, seen.st_ino)
        if kind == stat.S_IFDIR:
            yield from _walk(home, path)


def archives(found: list[Found]) -> Mapping[str, list[Found]]:
    """Which archive holds what."""
    shared: dict[str, list[Found]] = {"tree.tar": []}
    for one in found:
        shared.setdefault(_archive_of(one), []).append(one)
    return shared


def _archive_of(one: Found) -> str:
    if not stat.S_ISREG(one.mode):
        return "tree.tar"
    number = zlib.crc32(one.path.encode("utf-8", "surrogateescape"))
    return f"large-{number:08x}.tar" if one.size >= LARGE_BYTES else f"pack-{number % PACKS:02}.tar"


def save(home: Path, found: list[Found], bytes_max: int, target: Path, before: Path | None, old: list[Found]) -> None:
    """Write the entry `target` of what was found; what `before` holds of `old`, unchanged, is linked from there.

    `target` appears whole or not at all. Raises `TooLarge`, or `OSError` when the disk is full.
    """
    size = sum(one.size for one in found)
    if size > bytes_max:
        raise TooLarge(size)
    draft = target.with_name(target.name + ".tmp")
    draft.mkdir()
    known = archives(old) if before is not None else {}
    for name, content in archives(found).items():
        if before is not None and known.get(name) == content:
            os.link(before / name, draft / name)
        else:
            _pack(home, content, draft / name)
    draft.replace(target)


def _pack(home: Path, content: list[Found], target: Path) -> None:
    """The same content makes the same archive, byte for byte: nobody's name and no clock is in it."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT, errorlevel=1) as archive:
        for one in content:
            try:
                info = archive.gettarinfo(str(home / one.path), arcname=one.path)
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                if info.islnk():  # a second name of a file: stored as a file of its own
                    info.type, info.size = tarfile.REGTYPE, (home / one.path).stat().st_size
                if not info.isreg():
                    archive.addfile(info)
                    continue
                with (home / one.path).open("rb") as file:
                    archive.addfile(info, _Steady(file.read))  # type: ignore[arg-type]
            except (FileNotFoundError, PermissionError):
                continue  # it went meanwhile, or cannot be read even by its owner: the next save sees it


class _Steady:
    """A file that has as many bytes as it had: what was cut off meanwhile is filled up, what was added comes later."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        data = b""
        while len(data) < size and (more := self._read(size - len(data))):
            data += more
        return data.ljust(size, b"\0")


def restore(entry: Path, home: Path) -> None:
    """Unpack an entry into the home, which may hold part of it already. Raises `OSError`, `tarfile.TarError`."""
    home.mkdir(parents=True, exist_ok=True)
    folders: list[tarfile.TarInfo] = []
    for path in sorted(entry.glob("*.tar"), key=lambda path: path.name != "tree.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                _refuse_leaving(member, home)
                if member.isdir():
                    folders.append(member)
                    (home / member.name).mkdir(parents=True, exist_ok=True)
                    continue
                (home / member.name).unlink(missing_ok=True)
                archive.extract(member, home, **filtered(_as_it_was))
    for member in reversed(folders):  # a folder may be closed even to its owner, and times change with what lies in it
        (home / member.name).chmod(member.mode)
        os.utime(home / member.name, (member.mtime, member.mtime))


def _refuse_leaving(member: tarfile.TarInfo, home: Path) -> None:
    """Raise `tarfile.TarError` for what was never saved from a home: links in it may lead out, entries may not.

    Before anything is touched: making folders and making room for a file would follow a link as writing does.
    """
    inside = (home / member.name).parent.resolve().is_relative_to(home.resolve()) and not member.name.startswith("/")
    usual = member.isdir() or member.isreg() or member.issym()
    through = member.isdir() and (home / member.name).is_symlink()
    if not inside or not usual or through or ".." in member.name.split("/"):
        raise tarfile.TarError(f"{member.name[:200]!r} is not of this home folder")


def _as_it_was(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo:
    """Nothing outside of the home; permissions as they were, which the usual filter narrows."""
    safe = tarfile.tar_filter(member, target)
    return safe.replace(mode=member.mode & 0o7777, deep=False)
