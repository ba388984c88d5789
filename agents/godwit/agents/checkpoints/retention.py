"""Which checkpoints stay: the newest good ones, what is being restored, and what was proven good.

    restoring/e<epoch:06d>.json    an attempt is looking or reading; `order` is what it reads, once it knows
    deleting/<manifest's name>     a manifest on its way out: its files go next, then this

Only the newest attempt of a job deletes, after a commit. A checkpoint counts as good when its manifest can be read and
every file of it is listed with its size; before anything is deleted, one of those that stay was also proven by its
checksums: the attempt was restored from it, or it is read back now. Dying between any two steps leaves nothing that a
restore could take for a checkpoint, and the next round goes on from there; twice is once.
"""

import json
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Order
from godwit.agents.checkpoints.store import Store
from godwit.domain.checkpoints import Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged

MARK_S = 6 * 3600.0
"""A mark older than this was left by a node that died: nobody restores for six hours."""

READ_BACK_BYTES = 1024**3
"""What is read back to prove a checkpoint; larger ones count by their listing, since egress is paid for."""

AT_ONCE = 32
"""The most that one round looks at: a commit makes one more old one, and Ray Train may leave thousands of its own."""

_DATA = re.compile(r"^e(\d+)-s(\d+)(?:-\d+)?$")


@dataclass(frozen=True)
class Keep:
    """What must stay: the `count` newest good ones, and `proven`, which were verified by their checksums."""

    count: int
    proven: frozenset[Order] = frozenset()


def mark(store: Store, epoch: int, order: Order | None, now: float) -> None:
    """Say that an attempt of this epoch is looking for a checkpoint, or reads this one."""
    store.write_text(_mark_path(epoch), json.dumps({"at": now, "order": order}))


def unmark(store: Store, epoch: int) -> None:
    """The attempt of this epoch has what it wanted; harmless to repeat."""
    store.remove(_mark_path(epoch))


def retain(
    store: Store, epoch: int, keep: Keep, now: float, gone: Callable[[Order], None] = lambda _order: None
) -> list[Order]:
    """Delete what need not stay, as the attempt of this epoch; returns what was deleted, newest first.

    `gone` hears of each that is no checkpoint any more, also of what an earlier round began; twice is possible. Raises
    `StoreUnavailable`: then the next commit's round goes on.
    """
    marks = _marks(store, now)
    orders = commit.orders(store)
    if max([*marks, *(order[0] for order in orders)], default=epoch) > epoch:
        return []  # a newer attempt is there: what to delete is its business now
    _finish_deletions(store, gone)
    good = _newest_good(store, orders, keep.count)
    if len(good) < keep.count:
        return []
    staying = {manifest.order for manifest in good} | keep.proven | {mark for mark in marks.values() if mark}
    old = [order for order in orders if order < good[-1].order and order not in staying]
    leaving = [order for order in old[:AT_ONCE] if _is_ours(store, order)]
    if leaving and not (keep.proven & set(orders) or _is_proven(store, good[0])):
        return []
    for order in leaving:
        _delete(store, order, gone)
    _sweep(store, good[-1].order, {order for order in orders if order not in leaving})
    return leaving


def is_listed(store: Store, manifest: Manifest) -> bool:
    """Whether all files of a checkpoint are there with their sizes."""
    entries = {file.path.partition("/")[0] for file in manifest.files}
    for entry in entries:
        sizes = store.sizes(posixpath.join(manifest.root, entry))
        for file in manifest.files:
            first, _, below = file.path.partition("/")
            # An entry that is a file lists itself, as ".".
            if first == entry and sizes.get(below or ".") != file.size_bytes:
                return False
    return bool(manifest.files)


def _newest_good(store: Store, orders: list[Order], count: int) -> list[Manifest]:
    good: list[Manifest] = []
    for order in orders:
        try:
            manifest = commit.read(store, order)
        except CheckpointDamaged:
            continue
        if is_listed(store, manifest):
            good.append(manifest)
            if len(good) == count:
                break
    return good


def _is_ours(store: Store, order: Order) -> bool:
    """Whether nobody else keeps house there: what Ray Train wrote where it lies, it deletes itself (`num_to_keep`)."""
    try:
        manifest = commit.read(store, order)
    except CheckpointDamaged:
        return True
    return manifest.root.startswith(store.join("data") + "/") or not is_listed(store, manifest)


def _is_proven(store: Store, manifest: Manifest) -> bool:
    if manifest.size_bytes > READ_BACK_BYTES:
        return True
    try:
        return all(store.measure(posixpath.join(manifest.root, f.path), f.path) == f for f in manifest.files)
    except CheckpointDamaged:
        return False


def _delete(store: Store, order: Order, gone: Callable[[Order], None]) -> None:
    name = commit.manifest_name(order)
    path = posixpath.join("manifests", name)
    try:
        text = store.read_text(path)
    except CheckpointDamaged:
        return  # gone already
    store.write_text(posixpath.join("deleting", name), text.decode("utf-8", "replace"))
    store.remove(path)
    gone(order)
    _finish_deletion(store, name)


def _finish_deletions(store: Store, gone: Callable[[Order], None]) -> None:
    living = set(store.names("manifests"))
    for name in store.names("deleting"):
        if name in living:  # it died before the manifest was gone, or the same step was committed again since
            store.remove(posixpath.join("deleting", name))
        elif (order := commit.order_of(name)) is not None:
            gone(order)
            _finish_deletion(store, name)


def _finish_deletion(store: Store, name: str) -> None:
    path = posixpath.join("deleting", name)
    try:
        manifest = manifest_from_json(store.read_text(path))
    except CheckpointDamaged:
        store.remove(path)  # it names no files; what lies below data/ is swept
        return
    for file in manifest.files:
        store.remove(posixpath.join(manifest.root, file.path))
    for entry in {file.path.partition("/")[0] for file in manifest.files}:
        store.remove_tree(posixpath.join(manifest.root, entry))  # of a folder, its empty folders are left
    store.remove(path)


def _sweep(store: Store, oldest: Order, staying: set[Order]) -> None:
    """Remove data folders, older than the oldest that is kept, of no manifest: uploads that broke off."""
    used = set()
    for order in staying:
        try:
            used.add(posixpath.basename(commit.read(store, order).root))
        except CheckpointDamaged:
            continue  # whatever is damaged cannot be restored
    for folder in ("data", "parts"):
        for name in store.names(folder):
            match = _DATA.match(name)
            if match and (int(match[1]), int(match[2])) < oldest and name not in used:
                store.remove_tree(posixpath.join(folder, name))


def _marks(store: Store, now: float) -> dict[int, Order | None]:
    marks: dict[int, Order | None] = {}
    for name in store.names("restoring"):
        try:
            data = json.loads(store.read_text(posixpath.join("restoring", name)))
            epoch, at, order = int(name.removeprefix("e").removesuffix(".json")), float(data["at"]), data["order"]
            if now - at < MARK_S:
                marks[epoch] = None if order is None else (int(order[0]), int(order[1]))
        except (CheckpointDamaged, ValueError, KeyError, TypeError, IndexError):
            continue  # just removed, or no mark of ours
    return marks


def _mark_path(epoch: int) -> str:
    return posixpath.join("restoring", f"e{epoch:06d}.json")
