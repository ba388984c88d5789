"""Copy a job's newest checkpoint ahead of it: to the disk of a node that it moves to, and to another store.

    stores ──▶ <node>/kept/<job>/        file by file, a file from where it was cut; verified, the manifest last
                        └──▶ new store   server-side where both are of one service, else from this disk

What lies there already is not moved again, neither after a cut nor for the next checkpoint (by its checksum), so that
repeating it is the way to bring what is new. Nothing but the manifest makes a checkpoint of it.
"""

import hashlib
import json
import posixpath
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import structlog
from godwit.agents.checkpoints import commit, restore, retention
from godwit.agents.checkpoints.reuse import AtHand
from godwit.agents.checkpoints.store import BLOCK_BYTES, Store, StoreUnavailable
from godwit.agents.effects import Copied, Copy
from godwit.domain.checkpoints import CheckpointFile, Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.copies import CopyCheckpoint

log = structlog.get_logger()

TRIES, PAUSE_S, PAUSE_MAX_S = 8, 0.5, 30.0
"""A copy is tried so often, with pauses of 0.5 s doubling to 30 s: some two minutes, and each goes on where the last
one ended. A checkpoint may also be deleted while it is copied; then there is a newer one."""

FREE_SHARE_MIN = 0.1
"""A copy must leave so much of the disk free, as those of peers must: the program that comes needs it."""


class Throttle:
    """Keeps what moves to `bytes_per_s`, on average since it was made; `pause` sleeps."""

    def __init__(
        self,
        bytes_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._pause, self._began = bytes_per_s, clock, pause, clock()
        self.moved_bytes = 0

    def moved(self, size_bytes: int) -> None:
        """So much has moved; blocks until that was slow enough."""
        self.moved_bytes += size_bytes
        ahead_s = self.moved_bytes / self._rate - (self._clock() - self._began)
        if ahead_s > 0:
            self._pause(ahead_s)


class Copying:
    """Carries out orders to copy, each on a thread of its own; `report` hears how each ended."""

    def __init__(
        self,
        node_dir: Path,
        env: Mapping[str, str],
        report: Callable[[Copied], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._node_dir, self._env, self._report, self._pause = node_dir, env, report, pause

    def take(self, order: Copy) -> None:
        """Carry an order out; returns at once. Repeated, it goes on where it ended."""
        args = (order.command,)
        threading.Thread(target=self.copy, args=args, name=order.command.intent_id, daemon=True).start()

    def copy(self, command: CopyCheckpoint) -> None:
        """Copy, and report how that ended; blocks."""
        began, throttle, pause_s = time.monotonic(), Throttle(command.bytes_per_s), PAUSE_S
        for tries_left in reversed(range(TRIES)):
            try:
                manifest = ahead(command, self._node_dir, self._env, throttle)
            except (StoreUnavailable, CheckpointDamaged, OSError) as exc:
                log.info("a checkpoint could not be copied ahead", reason=str(exc), tries_left=tries_left)
                if tries_left == 0:
                    self._report(Copied(command.intent_id, worked=False, detail=str(exc)[:4_000]))
                    return
                self._pause(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            else:
                step, took_s = None if manifest is None else manifest.step, time.monotonic() - began
                done = Copied(command.intent_id, True, step, throttle.moved_bytes, took_s)
                self._report(done)
                return


def ahead(command: CopyCheckpoint, node_dir: Path, env: Mapping[str, str], throttle: Throttle) -> Manifest | None:
    """Bring the newest checkpoint to this node's disk, and to the new store; None when there is none yet.

    Raises `StoreUnavailable`, `CheckpointDamaged` or `OSError`; to be repeated, it goes on then.
    """
    own_env = {**env, **command.env}
    kept = node_dir / "kept" / quote(command.job_id, safe="")
    kept.mkdir(parents=True, exist_ok=True)
    local = Store(f"file://{kept}", {})
    source, order = _newest([Store(url, own_env) for url in command.stores], command.epoch)
    if source is None or order is None:
        return None
    manifest = commit.read(source, order)
    if not all(restore.is_inside(file.path) for file in manifest.files):
        raise CheckpointDamaged(f"the manifest of step {manifest.step} names paths that leave it")
    here = to_disk(source, manifest, local, throttle)
    if command.to_store is not None:
        roots = {file: local.local_path(posixpath.join(here.root, file.path)) for file in here.files}
        across(source, manifest, Store(command.to_store, own_env), roots, throttle)
    return here


def _newest(stores: Sequence[Store], epoch: int) -> tuple[Store | None, commit.Order | None]:
    found: tuple[Store | None, commit.Order | None] = (None, None)
    for store in stores:
        order = max((one for one in commit.orders(store) if one[0] <= epoch), default=None)
        if order is not None and (found[1] is None or order > found[1]):
            found = (store, order)
    return found


def to_disk(source: Store, manifest: Manifest, local: Store, throttle: Throttle) -> Manifest:
    """The checkpoint in this node's copies; what is there of it stays, a file that was cut off is gone on with."""
    name = commit.manifest_name(manifest.order)
    root = local.local_path(posixpath.join("data", name.removesuffix(".json")))
    disk = shutil.disk_usage(local.local_path(""))
    if disk.free - manifest.size_bytes < FREE_SHARE_MIN * disk.total:
        raise StoreUnavailable(f"{manifest.size_bytes} bytes would leave too little of this disk's {disk.free} free")
    at_hand = AtHand(local)
    for file in manifest.files:
        target = root / file.path
        if not (target.exists() and target.stat().st_size == file.size_bytes) and not at_hand.take(file, target):
            _fetch(source, posixpath.join(manifest.root, file.path), target, file, throttle)
    moved = {**json.loads(manifest.to_json()), "root": root.as_uri()}
    local.write_text(posixpath.join("manifests", name), json.dumps(moved))
    return commit.read(local, manifest.order)


def across(
    source: Store, manifest: Manifest, target: Store, here: Mapping[CheckpointFile, Path], throttle: Throttle
) -> None:
    """Commit in another store what `manifest` names in `source`; `here` are the same files on this disk, verified.

    Server-side where both are of one service: then nothing moves through this node. Files that are there are left
    out; one that is cut off is copied again. Raises `StoreUnavailable`.
    """
    name = commit.manifest_name(manifest.order)
    root = posixpath.join("data", f"e{manifest.epoch}-s{manifest.step}")
    there = target.sizes(root)
    for file in manifest.files:
        if there.get(file.path) == file.size_bytes:
            continue
        path = posixpath.join(root, file.path)
        if target.is_of_one_service(source):
            target.copy_within(posixpath.join(manifest.root, file.path), path)
        else:
            copied = target.upload(here[file], path, file.path)
            throttle.moved(copied.size_bytes)
            if copied != file:
                raise CheckpointDamaged(f"the copy {here[file]} is not what its manifest says")
    moved = {**json.loads(manifest.to_json()), "root": target.join(root)}
    whole = manifest_from_json(json.dumps(moved))
    if not retention.is_listed(target, whole):
        raise StoreUnavailable(f"not all files of step {manifest.step} are listed in {target.url} yet")
    target.write_text(posixpath.join("manifests", name), json.dumps(moved))


def _fetch(source: Store, path: str, target: Path, expected: CheckpointFile, throttle: Throttle) -> None:
    """Bring a file here; a part that came before is gone on with. Raises `CheckpointDamaged` unless it is the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    seen, size = hashlib.sha256(), 0
    with part.open("ab+") as writer:
        writer.seek(0)
        while block := writer.read(BLOCK_BYTES):
            seen.update(block)
            size += len(block)
        for block in source.blocks(path, size) if size < expected.size_bytes else ():
            writer.write(block)
            seen.update(block)
            size += len(block)
            throttle.moved(len(block))
    if (size, seen.hexdigest()) != (expected.size_bytes, expected.sha256):
        part.unlink()  # what is wrong with it cannot be known, so the next try begins anew
        raise CheckpointDamaged(f"{path} is not what its manifest says: {size} of {expected.size_bytes} bytes")
    part.replace(target)
