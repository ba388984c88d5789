"""Commits what the program of one attempt leaves, one checkpoint at a time, beside the running program."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.checkpoints.watch import FolderWatch
from godwit.agents.effects import Committed
from godwit.domain.checkpoints import Manifest
from godwit.domain.errors import CheckpointDamaged

log = structlog.get_logger()

SCAN_S = 0.5
"""Two looks within the second that makes an entry complete."""

PAUSE_MAX_S = 10.0
"""The longest pause while the store does not answer."""


class Committer:
    """Watches the checkpoint folder (`watch`, None on nodes whose folder does not count) and the helper's reports."""

    def __init__(
        self,
        store: Callable[[], Store],
        author: Author,
        watch: FolderWatch | None,
        reports: Path,
        emit: Callable[[Committed], None],
    ) -> None:
        self._open_store = store
        self._store: Store | None = None
        self._author = author
        self._watch = watch
        self._reports = reports
        self._emit = emit
        self._closing = threading.Event()
        self._ended_well = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def finish(self, timeout_s: float, *, ended_well: bool) -> bool:
        """Commit what is complete, and stop; returns whether that was done within `timeout_s`."""
        self._ended_well = ended_well
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # No bound on tries: each newer checkpoint takes the place of one that could not be stored, and the end of the
        # attempt ends the waiting.
        pause_s = SCAN_S
        while True:
            closing = self._closing.is_set()
            try:
                busy = self._commit_one(ended_well=closing and self._ended_well)
                pause_s = SCAN_S
            except StoreUnavailable as exc:
                log.warning("checkpoint not committed yet", reason=exc.message, attempt_id=self._author.attempt_id)
                busy, pause_s = False, min(pause_s * 2, PAUSE_MAX_S)
            if closing and not busy:
                return
            if not busy:
                self._closing.wait(pause_s)

    def _commit_one(self, *, ended_well: bool) -> bool:
        return self._commit_report() or self._commit_entry(ended_well=ended_well)

    def _commit_entry(self, *, ended_well: bool) -> bool:
        entry = None if self._watch is None else self._watch.scan(time.monotonic(), ended_well=ended_well)
        if self._watch is None or entry is None:
            return False
        try:
            manifest = commit.commit(self._opened(), self._author, entry.step, entry.path, time.time())
        except OSError:
            # The program changed or removed it while it was read: what is there next is looked at afresh.
            self._watch.failed(entry)
            return False
        except StoreUnavailable:
            self._watch.failed(entry)
            raise
        self._watch.committed(entry)
        self._tell(manifest)
        return True

    def _commit_report(self) -> bool:
        """Commit the newest of the checkpoints that the helper says lie in the store already; drop the older ones."""
        reports = sorted(self._reports.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        if not reports:
            return False
        try:
            data = json.loads(reports[-1].read_text())
            step, url = int(data["step"]), str(data["url"])
            if not 0 <= step < 10**12:
                raise ValueError(f"step {step} is out of range")
        except (ValueError, KeyError, TypeError):
            log.warning("a checkpoint report cannot be read", path=str(reports[-1]))
        else:
            self._commit_in_place(step, url)
        for path in reports:
            path.unlink(missing_ok=True)
        return True

    def _commit_in_place(self, step: int, url: str) -> None:
        try:
            manifest = commit.commit_in_place(self._opened(), self._author, step, url, time.time())
        except CheckpointDamaged as exc:
            # Ray Train has removed it again, in favour of a newer one that is reported next.
            log.warning("a reported checkpoint is gone", reason=exc.message)
            return
        self._tell(manifest)

    def _tell(self, manifest: Manifest) -> None:
        url = commit.manifest_url(self._opened(), manifest.epoch, manifest.step)
        self._emit(
            Committed(
                self._author.attempt_id,
                manifest.step,
                manifest.created_at,
                manifest.size_bytes,
                len(manifest.files),
                url,
            )
        )

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store
