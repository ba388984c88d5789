"""Keeps what the program of one attempt leaves: a copy on this disk at once, then one on a peer, then in the store.

Two threads beside the running program: the keeper looks for complete entries and copies them into this node's own
folder of copies; the sender takes the newest of those on. So a store that does not answer stops nobody: copies stay
here, the newest few, and the newest is sent once the store answers again.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from godwit.agents.checkpoints import commit, notes, retention
from godwit.agents.checkpoints.commit import Order
from godwit.agents.checkpoints.pace import Pace
from godwit.agents.checkpoints.retention import Keep
from godwit.agents.checkpoints.shards import Shards
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.checkpoints.watch import Entry, FolderWatch
from godwit.agents.effects import Committed, Deleted
from godwit.domain.checkpoints import Manifest
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.checkpoints import URLS_MAX

log = structlog.get_logger()

SCAN_S = 0.5
"""Two looks within the second that makes an entry complete."""

PAUSE_MAX_S = 10.0
"""The longest pause while the store does not answer."""

LOCAL_COPIES = 2
"""Copies that stay on this disk, beside the one that is being sent: the newest may be damaged by what ended the job."""


@dataclass(frozen=True)
class Tiers:
    """Where copies go. `offer(manifest)` brings one to a peer and returns the ids of the nodes that have it now."""

    local: Store
    open_store: Callable[[], Store]
    offer: Callable[[Manifest], tuple[str, ...]] = lambda _manifest: ()
    keep: int = 3


@dataclass(frozen=True)
class Told:
    """Who hears of it: `emit` and `gone` the control plane, `notice` the readers of the log."""

    emit: Callable[[Committed], None]
    notice: Callable[[str], None] = lambda _text: None
    gone: Callable[[Deleted], None] = lambda _deleted: None


class Committer:
    """Watches the checkpoint folder (`watch`, None on nodes whose folder does not count) and the helper's notes."""

    def __init__(
        self, tiers: Tiers, shards: Shards, watch: FolderWatch | None, run: Path, pace: Pace, told: Told
    ) -> None:
        self._tiers, self._shards, self._author = tiers, shards, shards.author
        self._watch, self._run, self._pace, self._told = watch, run, pace, told
        self.proven: frozenset[Order] = frozenset()
        """What this attempt was restored from, verified; set before the start."""
        self.owed: Manifest | None = None
        """What it was restored from, if that lay on this disk: the store may not have it. Set before the start."""
        self._store: Store | None = None
        self._sent: Order = (self._author.epoch, -1)
        self._offered: Order = self._sent
        self._sending: Order = self._sent
        self._replicas: tuple[str, ...] = ()
        self._homeless: Entry | None = None  # no room for a copy here: it goes straight to the store
        self._silent = False
        self._closing, self._gone = threading.Event(), threading.Event()
        self._kept_all, self._wake = threading.Event(), threading.Event()
        self._ended_well = False
        self._threads = [threading.Thread(target=act, daemon=True) for act in (self._keep_on, self._send_on)]

    def start(self) -> None:
        """Begin watching."""
        for thread in self._threads:
            thread.start()

    def finish(self, timeout_s: float, *, ended_well: bool) -> bool:
        """Keep and send what is complete, and stop; returns whether that was done within `timeout_s`."""
        self._ended_well = ended_well
        self._closing.set()
        self._wake.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        done = not any(thread.is_alive() for thread in self._threads)
        self.abandon()
        return done

    def abandon(self) -> None:
        """Stop without another write, as one that has no lease must."""
        for event in (self._gone, self._closing, self._wake):
            event.set()

    def _keep_on(self) -> None:
        busy = True
        while not self._gone.is_set() and (busy or not self._closing.is_set()):
            closing = self._closing.is_set()
            busy = self._keep_one(ended_well=closing and self._ended_well)
            if busy:
                self._wake.set()
            elif not closing:
                self._closing.wait(SCAN_S)
                busy = True  # one more look once it closes: what ended well is complete now
        self._kept_all.set()
        self._wake.set()

    def _keep_one(self, *, ended_well: bool) -> bool:
        for save in notes.take_saves(self._run):
            self._pace.saved(save.stall_s, save.step)
            if save.parts > 1:
                self._shards.add(save)
                self._wake.set()
            if self._watch is not None:
                (self._watch.know if save.parts > 1 else self._watch.finish)(save.entry)
        if self._watch is None:
            return False
        entry = self._watch.scan(time.monotonic(), ended_well=ended_well)
        if entry is None:
            return False
        try:
            if not entry.final:  # what the helper wrote is linked, and takes no room
                _refuse_to_fill(entry.path)
            commit.commit(self._tiers.local, self._author, entry.step, entry.path, time.time(), linked=entry.final)
            staying = Keep(LOCAL_COPIES, frozenset({(self._author.epoch, entry.step), self._sending}))
            retention.retain(self._tiers.local, self._author.epoch, staying, time.time())
        except OSError:
            # The program changed or removed it while it was read: what is there next is looked at afresh.
            self._watch.failed(entry)
            return False
        except StoreUnavailable as exc:
            log.warning("no copy on this disk", reason=exc.message, attempt_id=self._author.attempt_id)
            self._homeless = entry
        self._watch.committed(entry)
        return True

    def _send_on(self) -> None:
        # No bound on tries: each newer checkpoint takes the place of one that could not be stored, and the end of the
        # attempt ends the waiting.
        pause_s = SCAN_S
        while not self._gone.is_set():
            last = self._kept_all.is_set()
            self._wake.clear()
            try:
                busy, failed = self._send_one(), False
                pause_s = SCAN_S
            except StoreUnavailable as exc:
                busy, failed, pause_s = False, True, min(pause_s * 2, PAUSE_MAX_S)
                self._note_silence(exc)
            if last and not busy and not failed and not self._shards.waiting:
                return
            if not busy:
                self._wake.wait(pause_s)

    def _send_one(self) -> bool:
        sends = (self._commit_report, self._send_homeless, self._send_shards, self._send_newest, self._send_owed)
        return any(send() for send in sends)

    def _send_shards(self) -> bool:
        manifest = self._shards.send(self._opened(), time.time()) if self._shards.waiting else None
        if manifest is not None:
            self._tell(manifest)
        return manifest is not None

    def _send_newest(self) -> bool:
        local = self._tiers.local
        unsent = [order for order in commit.orders(local) if order[0] == self._author.epoch and order > self._sent]
        if not unsent:
            return False
        self._sending = unsent[0]
        try:
            manifest = commit.read(local, unsent[0])
            if self._offered < unsent[0]:
                self._offered, self._replicas = unsent[0], self._tiers.offer(manifest)
            began = time.monotonic()
            sent = self._stored(manifest)
        except CheckpointDamaged as exc:
            log.warning("a copy on this disk is damaged", reason=exc.message, attempt_id=self._author.attempt_id)
            self._sent = unsent[0]
            return True
        self._sent = unsent[0]
        self._pace.committed(time.monotonic() - began)
        self._tell(sent)
        return True

    def _stored(self, manifest: Manifest) -> Manifest:
        """The manifest in the store: what an earlier agent sent need not be sent again."""
        store = self._opened()
        if store.exists(commit.manifest_url(store, *manifest.order)):
            try:
                there = commit.read(store, manifest.order)
            except CheckpointDamaged:
                return commit.forward(self._tiers.local, manifest, store, self._replicas)
            if there.files == manifest.files:
                return there
        return commit.forward(self._tiers.local, manifest, store, self._replicas)

    def _send_owed(self) -> bool:
        owed, self.owed = self.owed, None
        if owed is None or self._sent[1] >= 0:  # a newer one is there
            return False
        try:
            self._stored(owed)
        except CheckpointDamaged as exc:
            log.warning("the copy that was restored is damaged by now", reason=exc.message)
        except StoreUnavailable:
            self.owed = owed
            raise
        return True

    def _send_homeless(self) -> bool:
        entry, self._homeless = self._homeless, None
        if entry is None:
            return False
        try:
            self._tell(commit.commit(self._opened(), self._author, entry.step, entry.path, time.time()))
        except OSError:
            log.warning("a checkpoint was gone before it could be stored", entry=entry.path.name)
        except StoreUnavailable:
            self._homeless = self._homeless or entry
            raise
        return True

    def _commit_report(self) -> bool:
        """Commit the newest of the checkpoints that the helper says lie in the store already; drop the older ones."""
        report, paths = notes.newest_report(self._run)
        if report is not None:
            self._commit_in_place(*report)
        for path in paths:
            path.unlink(missing_ok=True)
        return bool(paths)

    def _commit_in_place(self, step: int, url: str) -> None:
        try:
            manifest = commit.commit_in_place(self._opened(), self._author, step, url, time.time())
        except CheckpointDamaged as exc:
            # Ray Train has removed it again, in favour of a newer one that is reported next.
            log.warning("a reported checkpoint is gone", reason=exc.message)
            return
        self._tell(manifest)

    def _tell(self, manifest: Manifest) -> None:
        if self._silent:
            self._silent = False
            self._told.notice(f"the checkpoint store answers again; step {manifest.step} is stored")
        url = commit.manifest_url(self._opened(), manifest.epoch, manifest.step)
        self._told.emit(
            Committed(
                self._author.attempt_id,
                manifest.step,
                manifest.created_at,
                manifest.size_bytes,
                len(manifest.files),
                url,
                self._pace.stalled_s(manifest.step),
            )
        )
        self._retain()

    def _retain(self) -> None:
        store, keep, gone = self._opened(), Keep(self._tiers.keep, self.proven), list[Order]()
        try:
            retention.retain(store, self._author.epoch, keep, time.time(), gone.append)
        except StoreUnavailable as exc:
            log.warning("old checkpoints could not be deleted yet", reason=exc.message)
        if gone:
            log.info("old checkpoints were deleted", orders=gone, job_id=self._author.job_id)
            urls = tuple(commit.manifest_url(store, *order) for order in gone[:URLS_MAX])
            self._told.gone(Deleted(self._author.attempt_id, urls))

    def _note_silence(self, exc: StoreUnavailable) -> None:
        log.warning("checkpoint not committed yet", reason=exc.message, attempt_id=self._author.attempt_id)
        if not self._silent:
            self._silent = True
            self._told.notice("the checkpoint store does not answer; the newest checkpoints are kept on this node")

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._tiers.open_store()
        return self._store


def _refuse_to_fill(entry: Path) -> None:
    """Raise `StoreUnavailable` when a copy takes over half of what is free: the program needs room for the next one."""
    size = sum(file.stat().st_size for file in ([entry] if entry.is_file() else entry.rglob("*")) if file.is_file())
    free = shutil.disk_usage(entry).free
    if size > free / 2:
        raise StoreUnavailable(f"a copy of {entry.name} takes {size} bytes, and {free} are free on this disk")
