"""Where checkpoints lie: a folder or a bucket, through fsspec."""

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import fsspec
from godwit.agents.confinement import owner
from godwit.domain.checkpoints import CheckpointFile
from godwit.domain.errors import CheckpointDamaged, GodwitError

BLOCK_BYTES = 4 * 1024 * 1024


class StoreUnavailable(GodwitError):
    """The checkpoint store does not answer; nothing is known of what it holds, try again."""


class Store:
    """One job's store. Paths are relative to its URL unless they are URLs of the same store.

    Every method blocks, and raises `StoreUnavailable` when the store does not do as asked.
    """

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        self.url = (Path(url).as_uri() if url.startswith("/") else url).rstrip("/")
        protocol, options = self.url.partition("://")[0], {}
        with _translated(self.url):
            options = _options(self.url.partition("://")[0], env_of(self.url, env))
            self._fs = fsspec.filesystem(protocol, skip_instance_cache=True, **options)
        self._service = (protocol, options.get("endpoint_url"), options.get("key"))
        self._local = protocol == "file"

    def join(self, *parts: str) -> str:
        """The URL of something in this store."""
        return posixpath.join(self.url, *parts)

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder; none when there is no such folder."""
        with _translated(folder):
            try:
                found = self._fs.ls(self._path(folder), detail=False, refresh=True)
            except FileNotFoundError:
                return []
        return [posixpath.basename(path.rstrip("/")) for path in found]

    def files_below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, relative to it, sorted."""
        with _translated(folder):
            root = self._path(folder).rstrip("/")
            return sorted(posixpath.relpath(path, root) for path in self._fs.find(root))

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with _translated(path):
            return bool(self._fs.exists(self._path(path)))

    def read_text(self, path: str) -> bytes:
        """A small file, whole; raises `CheckpointDamaged` when it is not there."""
        with _translated(path):
            return bytes(self._fs.cat_file(self._path(path)))

    def write_text(self, path: str, text: str) -> None:
        """Write a small file so that a reader sees all of it or nothing."""
        with _translated(path):
            target = self._path(path)
            if not self._local:
                self._fs.pipe_file(target, text.encode())
                return
            self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
            draft = Path(target + ".tmp")
            with draft.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)

    def upload(
        self, source: Path, path: str, name: str, *, linked: bool = False, folder: Path | None = None
    ) -> CheckpointFile:
        """Copy a local file to `path`, hashing what is read; returns it as file `name` of a manifest.

        `linked`: nobody writes into the file any more; on the same disk a second name for it does. `folder`, above it,
        may be a program's to write: then the file is opened as that one's owner.
        """
        above = folder or source.parent
        if linked and self._local and self._link(above, source, path):
            return self.measure(path, name)
        target, seen, size = self._path(path), hashlib.sha256(), 0
        with owner.opened(above, source) as reader, _translated(path):
            if self._local:
                self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
            with self._fs.open(target, "wb") as writer:
                for block in _blocks(reader):
                    seen.update(block)
                    size += len(block)
                    writer.write(block)
        return CheckpointFile(name, size, seen.hexdigest())

    def _link(self, folder: Path, source: Path, path: str) -> bool:
        target = self.local_path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            owner.link(folder, source, target)
        except OSError:
            return False  # another disk, or one without links: it is copied
        return True

    def holds(self, url: str) -> bool:
        """Whether a URL leads below this store's own, and nowhere else."""
        own, path = self._path("").rstrip("/") + "/", self._path(url)
        return path.startswith(own) and ".." not in path.split("/")

    def local_path(self, path: str) -> Path:
        """Where something lies on this machine, for a store that is a folder."""
        return Path(self._path(path))

    def sizes(self, folder: str) -> dict[str, int]:
        """Sizes in bytes of all files below a folder, by their paths relative to it; none when it is not there."""
        with _translated(folder):
            root = self._path(folder).rstrip("/")
            try:
                found = self._fs.find(root, detail=True)
            except FileNotFoundError:
                return {}
            # For a path that is a file itself, some file systems know its name alone.
            sizes = {path: info["size"] if "size" in info else self._fs.size(path) for path, info in found.items()}
            return {posixpath.relpath(path, root): int(size) for path, size in sizes.items()}

    def remove(self, path: str) -> None:
        """Remove a file; harmless to repeat."""
        with suppress(CheckpointDamaged), _translated(path):
            self._fs.rm_file(self._path(path))

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and everything below it; harmless to repeat."""
        with suppress(CheckpointDamaged), _translated(folder):
            self._fs.rm(self._path(folder), recursive=True)

    def blocks(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """A file from `offset` on, block by block."""
        with _translated(path), self._fs.open(self._path(path), "rb") as reader:
            reader.seek(offset)
            yield from _blocks(reader)

    def is_of_one_service(self, other: "Store") -> bool:
        """Whether this store's service can copy from the other by itself: object stores behind one endpoint."""
        return not self._local and self._service == other._service

    def copy_within(self, source: str, path: str) -> None:
        """Copy a file from a store of the same service (its URL) to `path`, without moving it through this machine."""
        with _translated(source):
            self._fs.cp_file(self._fs._strip_protocol(source), self._path(path))

    def measure(self, path: str, name: str) -> CheckpointFile:
        """Hash a file where it lies; returns it as file `name` of a manifest."""
        seen, size = hashlib.sha256(), 0
        with _translated(path), self._fs.open(self._path(path), "rb") as reader:
            for block in _blocks(reader):
                seen.update(block)
                size += len(block)
        return CheckpointFile(name, size, seen.hexdigest())

    def download(self, path: str, target: Path, expected: CheckpointFile) -> None:
        """Copy a file to this machine; raises `CheckpointDamaged` unless it is what the manifest says."""
        target.parent.mkdir(parents=True, exist_ok=True)
        seen, size = hashlib.sha256(), 0
        with _translated(path), self._fs.open(self._path(path), "rb") as reader, target.open("wb") as writer:
            for block in _blocks(reader):
                seen.update(block)
                size += len(block)
                writer.write(block)
        if (size, seen.hexdigest()) != (expected.size_bytes, expected.sha256):
            raise CheckpointDamaged(f"{path} is not what its manifest says: {size} of {expected.size_bytes} bytes")

    def _path(self, path: str) -> str:
        url = path if "://" in path else self.join(path)
        return str(self._fs._strip_protocol(url))


def env_of(url: str, env: Mapping[str, str]) -> dict[str, str]:
    """The environment for one store: what ends in `__` and its bucket's name counts for that bucket alone.

    `AWS_ENDPOINT_URL__DIGITS_B` is the endpoint of `s3://digits-b`. So two clouds' stores can be used side by side.
    """
    bucket = re.sub(r"[^A-Za-z0-9]", "_", urlparse(url).netloc).upper()
    own = {name.removesuffix(f"__{bucket}"): value for name, value in env.items() if name.endswith(f"__{bucket}")}
    return {**env, **own} if bucket else dict(env)


def _options(protocol: str, env: Mapping[str, str]) -> dict[str, Any]:
    if protocol == "file":
        return {"auto_mkdir": True}
    endpoint = env.get("FSSPEC_S3_ENDPOINT_URL") or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
    options: dict[str, Any] = {option: env[name] for option, name in names.items() if env.get(name)}
    options["use_listings_cache"] = False  # others write here too
    if endpoint:
        # Servers other than AWS rarely have a name for each bucket.
        options |= {"endpoint_url": endpoint, "config_kwargs": {"s3": {"addressing_style": "path"}}}
    return options


def _blocks(reader: IO[bytes]) -> Iterator[bytes]:
    while block := reader.read(BLOCK_BYTES):
        yield block


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """A missing file is damage; everything else that a store raises is a store that cannot be used now.

    fsspec's backends raise what their libraries raise (OSError, botocore's and aiohttp's own): there is no common root.
    """
    try:
        yield
    except GodwitError:
        raise
    except FileNotFoundError as exc:
        raise CheckpointDamaged(f"{what} is missing") from exc
    except Exception as exc:
        raise StoreUnavailable(f"the checkpoint store cannot be used ({type(exc).__name__}: {exc}); {what}") from exc
