"""The folder that holds one control plane's state: who holds it, where it listens, its key and its first token."""

import base64
import fcntl
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from godwit.control_plane import keyring
from godwit.control_plane.accepting import BACKLOG
from godwit.control_plane.envelope import Envelope
from godwit.control_plane.settings import DEFAULT_PORT
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.given import secret as given_secret

CREDENTIALS_KEY = "GODWIT_CREDENTIALS_KEY"
"""The variable that gives keys to a process; with _FILE, that of a file with them."""


@dataclass(frozen=True)
class Holder:
    """The control plane that holds a home."""

    pid: int
    url: str
    identity: str


def holders(folder: Path) -> dict[str, int | None]:
    """Process ids of the control planes that hold `folder` now, by their names; "" is the name of one without.

    A process id is None where the lock does not tell it, and of another machine where several share the folder.
    """
    found: dict[str, int | None] = {}
    for path in sorted(folder.glob("control_plane*.lock")):
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                pid = lock.read().strip()
                name = path.name.removeprefix("control_plane").removesuffix(".lock").removeprefix(".")
                found[name] = int(pid) if pid.isdecimal() else None
    return found


def named_holders(folder: Path) -> str:
    """Those of them that have names, for a person: "a (process 12), b (process unknown)"; empty without any."""
    named = {name: pid for name, pid in holders(folder).items() if name}
    return ", ".join(f"{name} (process {pid or 'unknown'})" for name, pid in named.items())


def usable_keys(path: Path, held: Sequence[str]) -> list[bytes]:
    """What credentials and secrets are sealed with: the keys given to this process, then those `held` in `path`.

    The first seals. Raises `InvalidRequest` for a key that is none.
    """
    given, file = _given_keys(), os.environ.get(f"{CREDENTIALS_KEY}_FILE")
    source = f"{file} ({CREDENTIALS_KEY}_FILE)" if file else CREDENTIALS_KEY
    for where, keys in ((source, given), (str(path), held)):
        try:
            for key in keys:
                Vault(key.encode())
        except ValueError as exc:
            raise InvalidRequest(f"{where} is not a Fernet key: 32 bytes in URL-safe base 64") from exc
    return [key.encode() for key in (*given, *held)]


def _given_keys() -> list[str]:
    return given_secret(os.environ, CREDENTIALS_KEY, lambda file: Path(file).read_text()).split()


class Home:
    """A home, held by at most one control plane at a time, or by one of each name where several share one database."""

    def __init__(self, folder: Path, replica: str = "") -> None:
        self.folder, self._suffix = folder, f".{replica}" if replica else ""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def hold(self) -> IO[str]:
        """Hold this home while the returned file is open. Raises `Conflict`, naming the process that holds it."""
        lock = self._lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            lock.close()
            holder = self.holder()
            where = f" and serves {holder.url}" if holder is not None else ""
            how = (
                "end that process or its service (`systemctl stop godwit`)"
                if self._suffix
                else "stop it with `godwit down`"
            )
            raise Conflict(
                f"the control plane with process id {pid} holds {self.folder}{where}; "
                f"use it, {how}, or set GODWIT_HOME to another folder"
            ) from exc
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def is_held(self) -> bool:
        """Whether a control plane holds this home now."""
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def holder(self) -> Holder | None:
        """What the last control plane said of itself; it may be dead."""
        try:
            return Holder(**json.loads(self._record.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def announce(self, holder: Holder) -> None:
        """Say where the control plane serves."""
        content = json.dumps({"pid": holder.pid, "url": holder.url, "identity": holder.identity})
        keyring.write_private(self._record, content.encode())

    def withdraw(self) -> None:
        """Take the announcement back."""
        self._record.unlink(missing_ok=True)

    @property
    def _lock(self) -> Path:
        return self.folder / f"control_plane{self._suffix}.lock"

    @property
    def _record(self) -> Path:
        return self.folder / f"control_plane{self._suffix}.json"

    def token(self) -> str:
        """The admin token of this home, made at the first call, in a file that only its owner reads."""
        path = self.folder / "token"
        if not path.exists():
            keyring.write_private_once(path, (keyring.new_token() + "\n").encode())
        return path.read_text().strip()

    def keyring(self) -> keyring.Keyring:
        """The keys of this home."""
        return keyring.Keyring(keyring.load_or_create(self.folder / "secret.key"))

    def vault(self) -> Vault:
        """What providers' credentials are sealed with. Raises `InvalidRequest` for a key that is none."""
        present, *former = self._keys()
        return Vault(present, former)

    def envelope(self) -> Envelope:
        """What the secrets of projects are sealed with. Raises `InvalidRequest` for a key that is none."""
        return Envelope([base64.urlsafe_b64decode(key) for key in self._keys()])

    def _keys(self) -> list[bytes]:
        """The present key, then former ones: GODWIT_CREDENTIALS_KEY (or _FILE), and then the key file of this home.

        So whoever begins to give a key loses nothing that was sealed with the home's own, which none is made beside.
        """
        path = self.folder / "credentials.key"
        if not path.exists() and not _given_keys():
            keyring.write_private_once(path, new_key())
        keys = usable_keys(path, path.read_text().split() if path.exists() else [])
        if not keys:
            raise InvalidRequest(f"{path} is empty; put the key back, from a backup: what was sealed needs it")
        return keys

    def listen(
        self, port: int, host: str = "127.0.0.1", name: str = "port", default: int = DEFAULT_PORT
    ) -> socket.socket:
        """A listening socket on `host`, an IPv4 address: `port`, or with 0 the one of last time, `default`, or any.

        Agents know the address, so it is kept across restarts, under `name`. Raises `Conflict` when it is in use.
        """
        kept = self.folder / f"{name}{self._suffix}"
        wanted = port or (int(kept.read_text()) if kept.exists() else 0)
        for candidate in [wanted] if wanted else [default, 0]:
            # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, every answer on a
            # connection that stays open waits 40 ms for the client's delayed acknowledgement.
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, candidate))
                # Two sockets with SO_REUSEADDR may both bind a port on which nobody listens yet.
                listener.listen(BACKLOG)
            except OSError as exc:
                listener.close()
                if candidate == wanted:
                    raise Conflict(
                        f"port {wanted} is in use by another program; end that, or set `port` in "
                        f"{self.folder / 'config.yaml'} (running nodes know the old one and will be replaced)"
                    ) from exc
                continue
            kept.write_text(f"{listener.getsockname()[1]}\n")
            return listener
        raise Conflict("no free port was found on 127.0.0.1")
