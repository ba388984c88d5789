"""A checkpoint is a committed set of files; its manifest, written last, is what commits it."""

import json
import math
from dataclasses import asdict, dataclass, fields

from godwit.domain.errors import CheckpointDamaged
from godwit.domain.ids import AttemptId, JobId

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class CheckpointFile:
    """One file: `path` relative to the checkpoint's root, its size and its SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a committed checkpoint holds, who wrote it and where its files lie.

    `root` is the fsspec URL under which `files` lie. `replicas` are the ids of the nodes on whose disks a copy lay when
    this was written. Order among the checkpoints of a job is (`epoch`, `step`): what a fenced, older attempt wrote late
    never beats what a newer attempt wrote.
    """

    job_id: JobId
    attempt_id: AttemptId
    epoch: int
    step: int
    created_at: float
    root: str
    files: tuple[CheckpointFile, ...]
    replicas: tuple[str, ...] = ()
    version: int = MANIFEST_VERSION

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: the newest checkpoint of a job is the greatest."""
        return (self.epoch, self.step)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """The manifest as the text that is stored."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def _check_kinds(of: Manifest) -> None:
    """Raise `TypeError` for a value of another kind: whoever may write into a store may write anything there."""
    texts = [of.job_id, of.attempt_id, of.root, *(text for file in of.files for text in (file.path, file.sha256))]
    counts = [of.epoch, of.step, of.version, *(file.size_bytes for file in of.files)]
    if not all(isinstance(text, str) for text in texts) or not math.isfinite(of.created_at):
        raise TypeError("a value is of the wrong kind")
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        raise TypeError("a number is not what it counts")


def manifest_from_json(text: str | bytes) -> Manifest:
    """Read a stored manifest; raises `CheckpointDamaged` when it is cut short or not one.

    Fields that are not known here are passed over: a newer godwit wrote them.
    """
    try:
        data = json.loads(text)
        known = {field.name: data[field.name] for field in fields(Manifest) if field.name in data}
        files = tuple(CheckpointFile(**file) for file in known.pop("files"))
        manifest = Manifest(files=files, replicas=tuple(map(str, known.pop("replicas", ()))), **known)
        _check_kinds(manifest)
        return manifest
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
        raise CheckpointDamaged(f"the manifest cannot be read: {exc}") from exc
