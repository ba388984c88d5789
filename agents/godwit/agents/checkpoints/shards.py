"""Checkpoints whose files lie on several nodes: each node stores its own, the first one commits them all.

    data/e<epoch>-s<step>-<save>/<entry>/...      the files of all nodes; their names differ, as processes' ranks do
    parts/e<epoch>-s<step>-<save>/n<rank>.json    what one node has stored: a manifest of its own files

The program's first process knows how many nodes take part; its node writes the manifest once it sees as many parts.
Copies on disks and peers are not made: each node has only its own shards.
"""

import posixpath
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.notes import Save
from godwit.agents.checkpoints.store import Store
from godwit.domain.checkpoints import Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged

log = structlog.get_logger()

PARTS_WAIT_S = 1800.0
"""How long the first node waits for the others' parts: what a slow store takes for a node's shards. A newer save ends
the waiting too."""


class Shards:
    """The shards of one attempt on one node; the newest save overtakes those before it."""

    def __init__(self, author: Author, rank: int, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.author, self._rank, self._folder, self._clock = author, rank, folder, clock
        self._to_store: Save | None = None
        self._incomplete: Save | None = None
        self._give_up_at = 0.0

    @property
    def waiting(self) -> bool:
        """Whether something is to be stored here, or other nodes' parts are waited for."""
        return self._to_store is not None or self._incomplete is not None

    def add(self, save: Save) -> None:
        """This node's part of a save is complete on its disk."""
        self._to_store = save

    def send(self, store: Store, now: float) -> Manifest | None:
        """Store this node's part; returns the manifest once all parts are there and it was written, on the first node.

        Raises `StoreUnavailable`: call it again.
        """
        save = self._to_store
        if save is not None:
            self._store_part(store, save, now)
            self._to_store = None if self._to_store is save else self._to_store
            self._incomplete = save if save.first else None
            self._give_up_at = self._clock() + PARTS_WAIT_S
        return None if self._incomplete is None else self._complete(store, self._incomplete, now)

    def _store_part(self, store: Store, save: Save, now: float) -> None:
        try:
            part = commit.part(store, self.author, save.step, _name(self.author, save), self._folder / save.entry, now)
        except OSError as exc:
            log.warning("a shard was gone before it could be stored", entry=save.entry, reason=str(exc))
            return
        store.write_text(posixpath.join("parts", _name(self.author, save), f"n{self._rank}.json"), part.to_json())

    def _complete(self, store: Store, save: Save, now: float) -> Manifest | None:
        folder = posixpath.join("parts", _name(self.author, save))
        names = [name for name in store.names(folder) if name.endswith(".json")]
        if len(names) < save.parts:
            if self._clock() >= self._give_up_at:
                log.warning("shards are missing; the checkpoint is given up", step=save.step, parts=len(names))
                self._incomplete = None
            return None
        self._incomplete = None
        try:
            parts = [manifest_from_json(store.read_text(posixpath.join(folder, name))) for name in names]
        except CheckpointDamaged as exc:
            log.warning("a part cannot be read; the checkpoint is given up", step=save.step, reason=exc.message)
            return None
        manifest = commit.whole(store, parts, now)
        store.remove_tree(folder)
        return manifest


def _name(author: Author, save: Save) -> str:
    return f"e{author.epoch}-s{save.step}-{save.save_id}"
