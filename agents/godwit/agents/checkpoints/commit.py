"""Commit a checkpoint: files first, the manifest last.

    <store>/data/e<epoch>-s<step>/<entry>/...             the files
    <store>/manifests/e<epoch:06d>-s<step:012d>.json      what makes them a checkpoint

The first part of each file's path is its *entry*: the name that the program gave it in GODWIT_CHECKPOINT_DIR.
"""

import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from godwit.agents.checkpoints.store import Store
from godwit.agents.confinement import owner
from godwit.domain.checkpoints import CheckpointFile, Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.ids import AttemptId, JobId

Order = tuple[int, int]
"""(epoch, step): the newest checkpoint of a job is the greatest."""

_MANIFEST = re.compile(r"^e(\d{6,})-s(\d{12,})\.json$")


class Names(Protocol):
    """Whatever lists names in a folder."""

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder; none when there is no such folder."""


@dataclass(frozen=True)
class Author:
    """Which attempt commits."""

    job_id: str
    attempt_id: str
    epoch: int


def commit(store: Store, author: Author, step: int, source: Path, now: float, *, linked: bool = False) -> Manifest:
    """Copy the entry `source` (a file or a folder) into the store and commit it.

    `linked`: nobody writes into its files any more, so that a store on the same disk need not copy them. Raises
    `StoreUnavailable` (try again: what was copied is no checkpoint yet), or `OSError` when the entry changed under the
    copy.
    """
    root = _fresh_data_folder(store, author, step)
    paths = _files_of(source)
    names = [path.relative_to(source.parent).as_posix() for path in paths]
    pairs = zip(paths, names, strict=True)
    files = [
        store.upload(path, posixpath.join(root, name), name, linked=linked, folder=source.parent)
        for path, name in pairs
    ]
    return _write_manifest(store, author, step, store.join(root), files, now)


def part(store: Store, author: Author, step: int, name: str, source: Path, now: float) -> Manifest:
    """Copy one node's files of an entry into the folder `name` of the data; returns what makes up this part.

    It is no checkpoint yet. Raises as `commit` does.
    """
    root = posixpath.join("data", name)
    pairs = [(path, path.relative_to(source.parent).as_posix()) for path in _files_of(source)]
    files = tuple(store.upload(path, posixpath.join(root, below), below, folder=source.parent) for path, below in pairs)
    job_id, attempt_id = JobId(author.job_id), AttemptId(author.attempt_id)
    return Manifest(job_id, attempt_id, author.epoch, step, now, store.join(root), files)


def _files_of(source: Path) -> list[Path]:
    with owner.acting(source.parent):
        return [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())


def whole(store: Store, parts: list[Manifest], now: float) -> Manifest:
    """Commit the parts of all nodes as one checkpoint."""
    files = {file.path: file for one in parts for file in one.files}
    manifest = replace(parts[0], created_at=now, files=tuple(files[path] for path in sorted(files)))
    store.write_text(manifest_url(store, *manifest.order), manifest.to_json())
    return manifest


def commit_in_place(store: Store, author: Author, step: int, entry_url: str, now: float) -> Manifest:
    """Commit the folder `entry_url`, which lies in the store already, without moving it.

    Raises `StoreUnavailable`, or `CheckpointDamaged` when a file vanished meanwhile.
    """
    root, entry = posixpath.split(entry_url.rstrip("/"))
    if not store.holds(entry_url):
        raise CheckpointDamaged(f"{entry_url} does not lie in the job's store, {store.url}")
    names = [posixpath.join(entry, name) for name in store.files_below(entry_url)]
    if not names:
        raise CheckpointDamaged(f"there is no file below {entry_url}")
    files = [store.measure(posixpath.join(root, name), name) for name in names]
    return _write_manifest(store, author, step, root, files, now)


def manifest_url(store: Store, epoch: int, step: int) -> str:
    """Where the manifest of a checkpoint lies."""
    return store.join("manifests", manifest_name((epoch, step)))


def manifest_name(order: Order) -> str:
    """The name of a manifest: names sort as checkpoints do."""
    return f"e{order[0]:06d}-s{order[1]:012d}.json"


def order_of(name: str) -> Order | None:
    """(epoch, step) of the checkpoint whose manifest is called so; None: it is no manifest's name."""
    match = _MANIFEST.match(name)
    return None if match is None else (int(match[1]), int(match[2]))


def orders(store: Names) -> list[Order]:
    """(epoch, step) of every checkpoint of the store, the newest first."""
    return sorted((order for name in store.names("manifests") if (order := order_of(name))), reverse=True)


def read(store: Store, order: Order) -> Manifest:
    """The manifest of a checkpoint; raises `CheckpointDamaged` when it is gone or unreadable."""
    return manifest_from_json(store.read_text(manifest_url(store, *order)))


def forward(local: Store, manifest: Manifest, store: Store, replicas: tuple[str, ...]) -> Manifest:
    """Commit in `store` what lies in `local`, as the same checkpoint of the same attempt.

    Raises `StoreUnavailable`, or `CheckpointDamaged` when the local copy is no longer what its manifest says.
    """
    author = Author(manifest.job_id, manifest.attempt_id, manifest.epoch)
    root, files = _fresh_data_folder(store, author, manifest.step), []
    for file in manifest.files:
        source = local.local_path(posixpath.join(manifest.root, file.path))
        try:
            copied = store.upload(source, posixpath.join(root, file.path), file.path)
        except OSError as exc:
            raise CheckpointDamaged(f"the copy {source} cannot be read: {exc}") from exc
        if copied != file:
            raise CheckpointDamaged(f"the copy {source} is not what its manifest says")
        files.append(copied)
    return _write_manifest(store, author, manifest.step, store.join(root), files, manifest.created_at, replicas)


def _fresh_data_folder(store: Store, author: Author, step: int) -> str:
    """A folder for the files that nothing committed lies in: a step may be committed again with other content."""
    base = f"data/e{author.epoch}-s{step}"
    taken = {name for name in store.names("data") if name.startswith(posixpath.basename(base))}
    candidates = [base, *(f"{base}-{again}" for again in range(2, len(taken) + 3))]
    return next(folder for folder in candidates if posixpath.basename(folder) not in taken)


def _write_manifest(
    store: Store,
    author: Author,
    step: int,
    root: str,
    files: list[CheckpointFile],
    now: float,
    replicas: tuple[str, ...] = (),
) -> Manifest:
    manifest = Manifest(
        job_id=JobId(author.job_id),
        attempt_id=AttemptId(author.attempt_id),
        epoch=author.epoch,
        step=step,
        created_at=now,
        root=root,
        files=tuple(files),
        replicas=replicas,
    )
    store.write_text(manifest_url(store, author.epoch, step), manifest.to_json())
    return manifest
