"""What a program wrote beside its memory: the files of its workdir that are not as set-up left them.

    python -I -S files.py pack FOLDER TARGET      run by CRIU while the program stands still

It needs nothing but the standard library, so that the program waits for no import.
"""

import contextlib
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from godwit.agents.unpacking import filtered

BYTES_MAX = 4 * 1024**3
"""What may have changed, as much as a workdir may hold: it is copied while the program stands still."""

PLACES = ("workdir", "tmp")
"""What of the attempt's folder is the program's own to write."""

ARCHIVE, GONE = "files.tar", "gone.json"

Listing = dict[str, list[int]]


class TooMuchChanged(Exception):
    """The changed files are more than a save may hold; the message is for the program's owner."""


def listing(folder: Path) -> Listing:
    """Size, time and mode of everything in the program's places, by its path."""
    found: Listing = {}
    for path in _below(folder):
        with contextlib.suppress(FileNotFoundError):  # what set-up left running may still tidy up
            found[str(path.relative_to(folder))] = _mark(path)
    return found


def pack(folder: Path, base: Listing, target: Path) -> None:
    """Write what differs from `base` into the folder `target`: an archive of what is new, a list of what is gone.

    Raises `TooMuchChanged` beyond `BYTES_MAX`.
    """
    now = listing(folder)
    changed = [name for name, mark in sorted(now.items()) if base.get(name) != mark]
    size = sum(now[name][0] for name in changed)
    if size > BYTES_MAX:
        raise TooMuchChanged(
            f"the program changed {size >> 20} MiB of files in its workdir, and a save holds {BYTES_MAX >> 20}; "
            "let it write large results to storage"
        )
    _private(target / GONE, json.dumps(sorted(set(base) - set(now))))
    os.close(os.open(target / ARCHIVE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with tarfile.open(target / ARCHIVE, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in changed:
            tar.add(folder / name, name, recursive=False)


def lay(source: Path, folder: Path, aside: Path) -> None:
    """Make the files in `folder` what they were when `source` was packed; what was there before goes to `aside`.

    Raises `OSError` or `tarfile.TarError`; `lift` undoes it, also half way.
    """
    aside.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source / ARCHIVE) as tar:
        names = [member.name for member in tar if not member.isdir()]
        gone = [str(name) for name in json.loads((source / GONE).read_text())]
        if not all(_is_below(folder, name) for name in [*names, *gone]):
            raise tarfile.TarError("a name leaves the folder")
        _private(aside / "laid.json", json.dumps(names))
        for name in [*names, *gone]:
            _move(folder / name, aside / "before" / name)
        tar.extractall(folder, **filtered("tar"))  # noqa: S202 - names are judged above


def _is_below(folder: Path, name: str) -> bool:
    """Whether the name leads into the folder, and by way of no link out of it."""
    plain = not name.startswith("/") and ".." not in Path(name).parts
    return plain and (folder / name).parent.resolve().is_relative_to(folder.resolve())


def lift(folder: Path, aside: Path) -> None:
    """Undo `lay`; nothing when there was none."""
    if not (aside / "laid.json").exists():
        return
    for name in json.loads((aside / "laid.json").read_text()):
        (folder / name).unlink(missing_ok=True)
    for path in [path for path in (aside / "before").rglob("*") if path.is_symlink() or not path.is_dir()]:
        _move(path, folder / path.relative_to(aside / "before"))
    shutil.rmtree(aside)


def _move(path: Path, to: Path) -> None:
    if path.is_symlink() or path.is_file():
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)


def _below(folder: Path) -> Iterator[Path]:
    """Folders too: one that holds nothing but a socket is where CRIU makes that socket anew."""
    for place in PLACES:
        for root, folders, names in os.walk(folder / place):
            yield from (path for name in [*folders, *names] if _can_be_kept(path := Path(root) / name))


def _can_be_kept(path: Path) -> bool:
    return path.is_symlink() or path.is_file() or path.is_dir()  # CRIU makes sockets anew; a fifo holds nothing


def _mark(path: Path) -> list[int]:
    stat = path.lstat()
    return [0, 0, stat.st_mode] if path.is_dir() else [stat.st_size, stat.st_mtime_ns, stat.st_mode]


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def main() -> int:
    """Pack; returns 1 with the reason on standard error when it cannot be done."""
    folder, target = Path(sys.argv[2]), Path(sys.argv[3])
    try:
        pack(folder, json.loads((folder / "base.json").read_text()), target)
    except (TooMuchChanged, OSError, ValueError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the box reads it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
