"""By which key a host is known: pinned in a file of one's own, or recorded when it was first seen."""

import threading
from pathlib import Path

import asyncssh
from asyncssh.known_hosts import SSHKnownHosts
from godwit.domain.errors import CredentialsRejected, InvalidRequest, Problem
from godwit.providers import files
from godwit.providers.ssh_hosts.hosts import Host


class HostKeys:
    """Both files have OpenSSH's known_hosts format. With `pinned`, a host that is not in it is refused."""

    def __init__(self, name: str, recorded: Path, pinned: Path | None) -> None:
        self._name, self._file = name, recorded
        self._pinned = None if pinned is None else _read(pinned)
        self._where = pinned or recorded
        self._lock = threading.Lock()

    def of(self, host: Host) -> list[asyncssh.SSHKey] | None:
        """The keys of which it must show one; None on first sight. Raises `CredentialsRejected`."""
        if self._pinned is not None:
            keys = _keys(self._pinned, host)
            if not keys:
                what = f"{self._name}: {host.name} has no key in {self._where}; add what ssh-keyscan shows, checked"
                raise CredentialsRejected(what)
            return keys
        with self._lock:
            known = _read(self._file) if self._file.exists() else SSHKnownHosts()
        return _keys(known, host) or None

    def record(self, host: Host, key: asyncssh.SSHKey) -> None:
        """Remember the key of a host that was seen for the first time."""
        line = f"[{host.address}]:{host.port} {key.export_public_key('openssh').decode().strip()}\n"
        with self._lock:
            before = self._file.read_text() if self._file.exists() else ""
            files.private_folder(self._file.parent)
            files.write_private(self._file, before + line)

    def changed(self, host: Host) -> CredentialsRejected:
        """What to say when it shows another."""
        return CredentialsRejected(
            f"{self._name}: {host.name} shows another host key than before: it was set up anew, or somebody else"
            f" answers in its place. If you know that it was, replace its line in {self._where}"
        )


def _read(path: Path) -> SSHKnownHosts:
    try:
        return asyncssh.import_known_hosts(path.read_text())
    except (OSError, ValueError) as exc:
        what = f"{path} cannot be read as a known_hosts file: {exc}"
        raise InvalidRequest(problems=[Problem(("known_hosts",), what)]) from exc


def _keys(known: SSHKnownHosts, host: Host) -> list[asyncssh.SSHKey]:
    return list(known.match(host.address, "", host.port)[0])
