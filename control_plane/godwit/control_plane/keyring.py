"""Keyed derivation of every token: what can be derived again need not be stored, and only hashes are."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path


class Keyring:
    """Derives tokens from one secret key. Equal purposes give equal tokens, so a repeated effect sends the same one."""

    def __init__(self, key: bytes) -> None:
        # Not `hmac.digest`: that lets other threads run, and has to wait for one of them (5 ms) at each heartbeat.
        self._keyed = hmac.new(key, digestmod="sha256")
        self.key_id = self._derive("key")[:8]
        """Tells this key from others, and nothing else of it."""

    def __repr__(self) -> str:
        return "Keyring(...)"

    def join_token(self, node_id: str, launch_token: str) -> str:
        """What a booting machine joins with, once; it is in that machine's startup script and nowhere else."""
        return f"{node_id}.{self._derive('join', node_id, launch_token)}"

    def signature(self, said: str) -> str:
        """That we said so: what `credentials` puts behind a node's credential."""
        return self._derive("node", said)

    def vouched(self, expiry: str, digest: str) -> str:
        """That a certificate was shown with the credential of this digest: what `vouching` says."""
        return self._derive("vouched", expiry, digest)

    def ray_token(self, attempt_id: str) -> str:
        """The token of an attempt's own Ray cluster: 64 hex digits, as Ray wants."""
        return self._derive("ray", attempt_id)

    def login(self, purpose: str, of: str) -> str:
        """What a login with an identity provider needs, derived from its state: 64 hex digits."""
        return self._derive("login", purpose, of)

    def _derive(self, *purpose: str) -> str:
        derived = self._keyed.copy()
        derived.update("/".join(purpose).encode())
        return derived.hexdigest()


def digest(token: str) -> str:
    """What is stored of a token: its SHA-256. Tokens are 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A fresh bearer token of 256 random bits."""
    return "gw_" + secrets.token_urlsafe(32)


def load_or_create(path: Path) -> bytes:
    """The secret key of this home, made at the first call; the file is readable by its owner only."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return write_private_once(path, secrets.token_bytes(32))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, without ever having been readable by others."""
    _draft(path, content).replace(path)


def write_private_once(path: Path, content: bytes) -> bytes:
    """The same for a file that must not change once it is there; returns what is there, whoever was first."""
    draft = _draft(path, content)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another control plane on the same folder made it in the meantime
    finally:
        draft.unlink()
    return path.read_bytes()


def _draft(path: Path, content: bytes) -> Path:
    # Not named by its process id: control planes in containers may share a folder, and each has number 1.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
