"""Files of older checkpoints on this disk that a newer one has too: what did not change need not come again."""

import shutil
from functools import cached_property
from pathlib import Path
from posixpath import join

from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.restore import Source
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.domain.checkpoints import CheckpointFile
from godwit.domain.errors import CheckpointDamaged


class AtHand:
    """What this node's copies hold, by checksum; looked at once, when it is first asked for something."""

    def __init__(self, local: Store) -> None:
        self._local = local

    def take(self, wanted: CheckpointFile, target: Path) -> bool:
        """Copy a file of this content to `target`, verified; False when there is none, or it is not what it was."""
        path = self._paths.get((wanted.sha256, wanted.size_bytes))
        if path is None:
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._local.measure(path.as_uri(), wanted.path) != wanted:
                return False
            shutil.copyfile(path, target)
        except (OSError, StoreUnavailable, CheckpointDamaged):
            return False  # it is being deleted, or the disk is full: then whoever asks hears it from the download
        return True

    @cached_property
    def _paths(self) -> dict[tuple[str, int], Path]:
        found: dict[tuple[str, int], Path] = {}
        for order in commit.orders(self._local):
            try:
                manifest = commit.read(self._local, order)
            except CheckpointDamaged:
                continue
            for file in manifest.files:
                path = self._local.local_path(join(manifest.root, file.path))
                found.setdefault((file.sha256, file.size_bytes), path)
        return found


class Reusing:
    """A place to restore from, of which files that lie on this disk already are not downloaded."""

    def __init__(self, source: Source, local: Store) -> None:
        self._source, self._at_hand = source, AtHand(local)

    def join(self, *parts: str) -> str:
        """As the place itself."""
        return self._source.join(*parts)

    def names(self, folder: str) -> list[str]:
        """As the place itself."""
        return self._source.names(folder)

    def read_text(self, path: str) -> bytes:
        """As the place itself."""
        return self._source.read_text(path)

    def download(self, path: str, target: Path, expected: CheckpointFile) -> None:
        """Copy a file from this disk if it is here, else from the place."""
        if not self._at_hand.take(expected, target):
            self._source.download(path, target, expected)
