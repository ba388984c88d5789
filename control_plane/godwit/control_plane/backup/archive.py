"""The file that a backup is: a gzipped tar of named parts, and last a manifest with the size and checksum of each.

The manifest comes last, so that a file whose writing was cut off has none, and is no backup.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from godwit.domain.errors import InvalidRequest

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 16 * 2**20
"""A manifest has a line for each table and each workdir: room for a hundred thousand of them."""

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `parts` are sizes in bytes and SHA-256 by name; `at` is seconds since the epoch.

    `schema` is the revision of the tables, `last_event` the number of the newest event.
    """

    format: int
    version: str
    identity: str
    schema: str
    at: float
    last_event: int
    rows: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, str]] = field(default_factory=dict)


class Writer:
    """Adds parts to a backup that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.parts: dict[str, tuple[int, str]] = {}

    def add(self, name: str, content: IO[bytes]) -> None:
        """Add the whole of a seekable file."""
        content.seek(0)
        digest, size = hashlib.sha256(), 0
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
        content.seek(0)
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, content)
        self.parts[name] = (size, digest.hexdigest())

    def spooled(self, name: str, write: Callable[[IO[bytes]], int]) -> int:
        """Add what `write` writes, which may be larger than memory; returns what it returns."""
        with tempfile.TemporaryFile() as file:
            told = write(file)
            self.add(name, file)
        return told


@contextmanager
def writing(path: Path) -> Iterator[tuple[Writer, Callable[[Manifest], None]]]:
    """A writer, and what to call last with the manifest. The file appears at `path` whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with (
                gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w") as tar,
            ):
                yield (writer := Writer(tar)), lambda manifest: _close(writer, tar, manifest)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _close(writer: Writer, tar: tarfile.TarFile, manifest: Manifest) -> None:
    text = json.dumps({**asdict(manifest), "parts": writer.parts}, indent=1).encode()
    info = tarfile.TarInfo(MANIFEST)
    info.size, info.mode = len(text), 0o600
    tar.addfile(info, io.BytesIO(text))


def verified(path: Path) -> Manifest:
    """The manifest of a backup every part of which is whole. Raises `InvalidRequest` for any other file."""
    seen: dict[str, tuple[int, str]] = {}
    text = b""
    try:
        with tarfile.open(path, "r:gz") as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is None or MANIFEST in seen or info.name in seen:
                    raise InvalidRequest(f"{path} holds something that no backup does: {info.name[:200]!r}")
                if info.name == MANIFEST and info.size <= MANIFEST_BYTES_MAX:
                    text = content.read()
                digest = hashlib.sha256(text) if text else hashlib.sha256()
                while block := content.read(_BLOCK_BYTES):
                    digest.update(block)
                seen[info.name] = (info.size, digest.hexdigest())
    except (OSError, EOFError, tarfile.TarError, gzip.BadGzipFile) as exc:
        raise InvalidRequest(f"{path} cannot be read as a backup: {exc}; take another one") from exc
    return _checked(path, text, seen)


def _checked(path: Path, text: bytes, seen: Mapping[str, tuple[int, str]]) -> Manifest:
    try:
        told: Any = json.loads(text)
        if told["format"] != FORMAT:
            raise InvalidRequest(f"{path} is a backup of format {told['format']}; this godwit reads format {FORMAT}")
        manifest = Manifest(**{**told, "parts": {name: tuple(of) for name, of in told["parts"].items()}})
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InvalidRequest(f"{path} has no manifest at its end: it was cut off, or is no backup") from exc
    wrong = [name for name, of in manifest.parts.items() if seen.get(name) != of]
    more = seen.keys() - manifest.parts.keys() - {MANIFEST}
    if wrong or more:
        raise InvalidRequest(f"{path} is damaged: {', '.join([*wrong, *sorted(more)][:5])}; take another one")
    return manifest


@contextmanager
def reading(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """The parts of a backup that was verified, in their order; each is to be read before the next is asked for."""
    with tarfile.open(path, "r:gz") as tar:
        yield _parts(tar)


def _parts(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for info in tar:
        content = tar.extractfile(info)
        if content is not None and info.name != MANIFEST:
            yield info.name, content
