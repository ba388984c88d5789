"""Keys, tokens and workdirs of a backup on their way into a home: written beside first, then renamed into place."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from godwit.control_plane import keyring
from godwit.control_plane.backup import archive, backing

BYTES_MAX = 2**20
"""What is read of one file of a home: a configuration, or a key."""

_DRAFTS = ".restoring"


@contextmanager
def configured(folder: Path, source: Path) -> Iterator[None]:
    """A `config.yaml` in `folder`: one that is there is its owner's and stays; otherwise that of the backup.

    When the block raises, one that was not there before is gone again.
    """
    path = folder / "config.yaml"
    was_there = path.exists()
    try:
        if not was_there and (content := _read(source).get(path.name)) is not None:
            keyring.write_private(path, content)
        yield
    except BaseException:
        if not was_there:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def staged(folder: Path, source: Path) -> Iterator[Callable[[str], None]]:
    """Write everything into a folder beside, for what may fail; yields what puts it in place, given a stamp.

    What is replaced is kept beside under its name and the stamp, and no name is without a file at any time. What was
    not put is gone after the block; after a death at the next call.
    """
    drafts = folder / _DRAFTS
    shutil.rmtree(drafts, ignore_errors=True)
    (drafts / "archives").mkdir(parents=True, mode=0o700)
    try:
        for name, content in _read(source).items():
            path = folder / name
            if name != "config.yaml" and not (path.exists() and path.read_bytes() == content):
                keyring.write_private(drafts / name, content)
        _write_workdirs(source, drafts / "archives", folder / "archives")
        yield lambda stamp: _put(drafts, folder, stamp)
    finally:
        shutil.rmtree(drafts)


def _read(source: Path) -> dict[str, bytes]:
    found = {}
    with archive.reading(source) as parts:
        for name, content in parts:
            folder, _, plain = name.partition("/")
            if folder == "archives":
                break  # they come last, and may be long
            if folder == "home" and plain in backing.HOME_FILES:
                found[plain] = content.read(BYTES_MAX)
    return found


def _write_workdirs(source: Path, drafts: Path, there: Path) -> None:
    """Uploaded workdirs that are not there any more. They are named by what they hold, so none is ever replaced."""
    with archive.reading(source) as parts:
        for name, content in parts:
            kind, _, plain = name.partition("/")
            if kind == "archives" and backing.WORKDIR.fullmatch(plain) and not (there / plain).exists():
                with (drafts / plain).open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)


def _put(drafts: Path, folder: Path, stamp: str) -> None:
    (folder / "archives").mkdir(exist_ok=True, mode=0o700)
    for draft in sorted((drafts / "archives").iterdir()):
        draft.replace(folder / "archives" / draft.name)
    for draft in sorted(path for path in drafts.iterdir() if path.is_file()):
        path = folder / draft.name
        if path.exists():
            path.with_name(f"{path.name}.{stamp}").hardlink_to(path)
        draft.replace(path)
