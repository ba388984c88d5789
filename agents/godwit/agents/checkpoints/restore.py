"""Find the newest good checkpoint and bring it here, from the nearest place that has it whole.

Places are asked in the order in which they are given: this node's disk, peers, the store. A checkpoint counts as
damaged once no place has it whole; then the one before it is tried.
"""

import posixpath
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Order
from godwit.agents.checkpoints.store import StoreUnavailable
from godwit.agents.confinement import owner
from godwit.domain.checkpoints import CheckpointFile, Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged


class Source(Protocol):
    """Somewhere that checkpoints lie; each method raises `StoreUnavailable` or `CheckpointDamaged`, as `Store` does."""

    def join(self, *parts: str) -> str:
        """The URL of something there."""

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder."""

    def read_text(self, path: str) -> bytes:
        """A small file."""

    def download(self, path: str, target: Path, expected: CheckpointFile) -> None:
        """Copy a file here, verified."""


@dataclass(frozen=True)
class Place:
    """A source with what people call it. Without the answer of one that is `needed`, nothing can be said."""

    name: str
    source: Source
    needed: bool = False


@dataclass(frozen=True)
class Found:
    """The checkpoint that was restored to `path`, and from where; `manifest` is as it lies in that place."""

    manifest: Manifest
    manifest_url: str
    path: Path
    place: str


@dataclass(frozen=True)
class Search:
    """What looking for the newest good checkpoint found; `damaged` are the URLs of newer ones' manifests."""

    found: Found | None
    damaged: tuple[str, ...]


def newest(places: Sequence[Place], below_epoch: int, target: Path, before: Order | None = None) -> Search:
    """Copy the newest good checkpoint of an epoch below `below_epoch` into `target`, verified.

    With `before` only what is older than that one counts. Each entry appears in `target` whole or not at all. Raises
    `StoreUnavailable` when a needed place does not answer, unless a copy of the epoch just before is at hand: nothing
    newer can lie elsewhere.
    """
    holders, silent = _holders(places, below_epoch)
    if silent is not None and max((epoch for epoch, _ in holders), default=-1) != below_epoch - 1:
        raise silent
    damaged: list[str] = []
    for order in sorted((one for one in holders if before is None or one < before), reverse=True):
        found = _from_any(holders[order], order, target)
        if found is not None:
            return Search(found, tuple(damaged))
        last = holders[order][-1].source
        damaged.append(last.join("manifests", commit.manifest_name(order)))
    return Search(None, tuple(damaged))


def exactly(places: Sequence[Place], wanted: Manifest, target: Path) -> Found | None:
    """Copy this very checkpoint, file for file the same, into `target`; None when no place has it whole."""
    return _from_any(places, wanted.order, target, wanted)


def _holders(places: Sequence[Place], below_epoch: int) -> tuple[dict[Order, list[Place]], StoreUnavailable | None]:
    holders: dict[Order, list[Place]] = {}
    silent: StoreUnavailable | None = None
    for place in places:
        try:
            for order in commit.orders(place.source):
                if order[0] < below_epoch:
                    holders.setdefault(order, []).append(place)
        except StoreUnavailable as exc:
            silent = exc if place.needed else silent
    return holders, silent


def _from_any(places: Sequence[Place], order: Order, target: Path, wanted: Manifest | None = None) -> Found | None:
    unavailable: StoreUnavailable | None = None
    for place in places:
        url = place.source.join("manifests", commit.manifest_name(order))
        try:
            manifest = manifest_from_json(place.source.read_text(url))
            if wanted is None or manifest.files == wanted.files:
                return Found(manifest, url, _bring(place.source, manifest, target), place.name)
        except CheckpointDamaged:
            continue
        except StoreUnavailable as exc:
            unavailable = exc if place.needed else unavailable
    if unavailable is not None:
        raise unavailable  # it may well be good there: nobody knows yet
    return None


def _bring(source: Source, manifest: Manifest, target: Path) -> Path:
    entries = {file.path.partition("/")[0] for file in manifest.files}
    if len(entries) != 1 or not all(is_inside(file.path) for file in manifest.files):
        raise CheckpointDamaged(f"the manifest names no entry, several, or paths that leave it: {sorted(entries)}")
    entry = entries.pop()
    draft = target.parent / f".restoring-{entry}"  # where no program writes: what arrives is the agent's until whole
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for file in manifest.files:
            source.download(posixpath.join(manifest.root, file.path), draft / file.path, file)
        target.mkdir(parents=True, exist_ok=True)
        place = target / entry
        if place.is_dir():
            shutil.rmtree(place)
        owner.give(draft / entry, like=target)
        (draft / entry).replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def is_inside(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    return not path.startswith("/") and ".." not in path.split("/")
