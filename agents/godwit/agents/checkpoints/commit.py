"""Commit a checkpoint, and find the newest good one: files first, the manifest last.

    <store>/data/e<epoch>-s<step>/<entry>/...             the files
    <store>/manifests/e<epoch:06d>-s<step:012d>.json      what makes them a checkpoint

The first part of each file's path is its *entry*: the name that the program gave it in GODWIT_CHECKPOINT_DIR.
"""

import posixpath
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.checkpoints.store import Store
from godwit.domain.checkpoints import CheckpointFile, Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.ids import AttemptId, JobId

_MANIFEST = re.compile(r"^e(\d{6,})-s(\d{12,})\.json$")


@dataclass(frozen=True)
class Author:
    """Which attempt commits."""

    job_id: str
    attempt_id: str
    epoch: int


@dataclass(frozen=True)
class Found:
    """The checkpoint that was restored to `path`, and the newer ones that turned out damaged, as manifest URLs."""

    manifest: Manifest
    manifest_url: str
    path: Path


@dataclass(frozen=True)
class Search:
    """What looking for the newest good checkpoint found."""

    found: Found | None
    damaged: tuple[str, ...]


def commit(store: Store, author: Author, step: int, source: Path, now: float) -> Manifest:
    """Copy the entry `source` (a file or a folder) into the store and commit it.

    Raises `StoreUnavailable` (try again: what was copied is no checkpoint yet), or `OSError` when the entry changed
    under the copy.
    """
    root = _fresh_data_folder(store, author, step)
    paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    names = [path.relative_to(source.parent).as_posix() for path in paths]
    files = [store.upload(path, posixpath.join(root, name), name) for path, name in zip(paths, names, strict=True)]
    return _write_manifest(store, author, step, store.join(root), files, now)


def commit_in_place(store: Store, author: Author, step: int, entry_url: str, now: float) -> Manifest:
    """Commit the folder `entry_url`, which lies in the store already, without moving it.

    Raises `StoreUnavailable`, or `CheckpointDamaged` when a file vanished meanwhile.
    """
    root, entry = posixpath.split(entry_url.rstrip("/"))
    names = [posixpath.join(entry, name) for name in store.files_below(entry_url)]
    if not names:
        raise CheckpointDamaged(f"there is no file below {entry_url}")
    files = [store.measure(posixpath.join(root, name), name) for name in names]
    return _write_manifest(store, author, step, root, files, now)


def manifest_url(store: Store, epoch: int, step: int) -> str:
    """Where the manifest of a checkpoint lies."""
    return store.join("manifests", f"e{epoch:06d}-s{step:012d}.json")


def latest_good(store: Store, below_epoch: int, target: Path) -> Search:
    """Copy the newest checkpoint of an epoch below `below_epoch` into `target`, verified; older ones if it is damaged.

    Each entry appears in `target` whole or not at all. Raises `StoreUnavailable`: then nothing is known.
    """
    damaged: list[str] = []
    for epoch, step in _orders(store, below_epoch):
        url = manifest_url(store, epoch, step)
        try:
            manifest = manifest_from_json(store.read_text(url))
            return Search(Found(manifest, url, _restore(store, manifest, target)), tuple(damaged))
        except CheckpointDamaged:
            damaged.append(url)
    return Search(None, tuple(damaged))


def _orders(store: Store, below_epoch: int) -> list[tuple[int, int]]:
    matches = [match for name in store.names("manifests") if (match := _MANIFEST.match(name))]
    orders = [(int(match[1]), int(match[2])) for match in matches]
    return sorted((order for order in orders if order[0] < below_epoch), reverse=True)


def _restore(store: Store, manifest: Manifest, target: Path) -> Path:
    entries = {file.path.partition("/")[0] for file in manifest.files}
    if len(entries) != 1 or not all(_is_inside(file.path) for file in manifest.files):
        raise CheckpointDamaged(f"the manifest names no entry, several, or paths that leave it: {sorted(entries)}")
    entry = entries.pop()
    draft = target / f".restoring-{entry}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for file in manifest.files:
            store.download(posixpath.join(manifest.root, file.path), draft / file.path, file)
        place = target / entry
        if place.is_dir():
            shutil.rmtree(place)
        (draft / entry).replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _fresh_data_folder(store: Store, author: Author, step: int) -> str:
    """A folder for the files that nothing committed lies in: a step may be committed again with other content."""
    base = f"data/e{author.epoch}-s{step}"
    taken = {name for name in store.names("data") if name.startswith(posixpath.basename(base))}
    candidates = [base, *(f"{base}-{again}" for again in range(2, len(taken) + 3))]
    return next(folder for folder in candidates if posixpath.basename(folder) not in taken)


def _write_manifest(
    store: Store, author: Author, step: int, root: str, files: list[CheckpointFile], now: float
) -> Manifest:
    manifest = Manifest(
        job_id=JobId(author.job_id),
        attempt_id=AttemptId(author.attempt_id),
        epoch=author.epoch,
        step=step,
        created_at=now,
        root=root,
        files=tuple(files),
    )
    store.write_text(manifest_url(store, author.epoch, step), manifest.to_json())
    return manifest
