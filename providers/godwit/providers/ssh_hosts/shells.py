"""Programs run on hosts over SSH, behind plain calls that block no longer than their time-out.

The one home of asyncssh and of its loop. What went wrong is sorted by what the caller of `Provider` does next.
"""

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import asyncssh
from godwit.domain import errors
from godwit.domain.clock import Clock
from godwit.providers.ssh_hosts.host_keys import HostKeys
from godwit.providers.ssh_hosts.hosts import Host
from godwit.providers.ssh_hosts.silences import Silences, Silent

logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells of every connection

Done = TypeVar("Done")

RETRY_AFTER_S = 5.0
"""sshd does not say when it takes connections again; its own penalties start at a second (sshd_config(5), 2024)."""

_HOST_KEY_ALGORITHMS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip
"""Those of sshd's host keys (sshd_config(5), 2024), in its order."""

_MAX_ANSWER = 1_048_576
"""Characters; an answer is a few lines, and a host that talks without end must not fill our memory."""

_CHANNELS = 8
"""Programs at a time per host: sshd's MaxSessions is 10 (sshd_config(5), 2024)."""

_HOSTS_AT_ONCE = 64
"""Hosts asked at a time: with more, our own cryptography would make the last ones late."""


_NO_WAY = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH)
"""The kernel gives up on such an address after some seconds, a resolver on a name: lost like a time-out."""


class Shells:
    """Connections to a pool of hosts, kept open between calls, all through the host `via` where there is one.

    Safe to call from several threads.
    """

    def __init__(
        self, name: str, key: asyncssh.SSHKey, host_keys: HostKeys, timeout_s: float, clock: Clock, via: Host | None
    ) -> None:
        self._name, self._key, self._host_keys, self._timeout_s = name, key, host_keys, timeout_s
        self._silences, self._via = Silences(clock, timeout_s), via
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._connections: dict[Host, asyncssh.SSHClientConnection] = {}
        self._connecting: dict[Host, asyncio.Lock] = {}
        self._channels: dict[Host, asyncio.Semaphore] = {}

    def run(self, host: Host, program: str, *, launching: bool = False) -> str:
        """Run a program with sh on the host, also on a silent one; returns what it said. Blocks up to `timeout_s`.

        Raises a `ProviderError`; `launching` says that one whose answer never came may have started a machine.
        """
        return self._wait(self._run(host, program, launching=launching))

    def run_everywhere(
        self, hosts: Sequence[Host], program: str, *, also_silent: bool = False
    ) -> Mapping[Host, str | errors.ProviderError]:
        """Run a program that changes nothing on many hosts at once; each answers or fails for itself.

        Hosts that did not answer lately are left alone for a while and fail at once (see `silences`), unless
        `also_silent`.
        """
        return self._wait(self._run_everywhere(hosts, program, also_silent=also_silent))

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)

    def _wait(self, coroutine: Coroutine[Any, Any, Done]) -> Done:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name=f"ssh-{self._name}", daemon=True).start()
            future: Future[Done] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result()  # each coroutine here bounds itself

    async def _close(self) -> None:
        connections = list(self._connections.values())
        self._connections.clear()
        self._connecting.clear()
        self._channels.clear()
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    async def _run_everywhere(
        self, hosts: Sequence[Host], program: str, *, also_silent: bool
    ) -> Mapping[Host, str | errors.ProviderError]:
        slots = asyncio.Semaphore(_HOSTS_AT_ONCE)
        left_alone = {} if also_silent else self._silences.left_alone(hosts)

        async def one(host: Host) -> str | errors.ProviderError:
            if host in left_alone:
                return left_alone[host]
            async with slots:
                try:
                    return await self._run(host, program)
                except Silent as silent:
                    self._silences.note(host, silent)
                    return silent
                except errors.ProviderError as error:
                    self._silences.over(host)
                    return error

        answers = await asyncio.gather(*(one(host) for host in hosts))
        return dict(zip(hosts, answers, strict=True))

    async def _run(self, host: Host, program: str, *, launching: bool = False) -> str:
        call = _Call(self._name, host, launching=launching)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._channels.setdefault(host, asyncio.Semaphore(_CHANNELS)):
                    try:
                        said = await self._converse(host, program, call)
                    except (asyncssh.ConnectionLost, asyncssh.ChannelOpenError, BrokenPipeError):
                        # A kept connection may have died while nobody looked. Once, and only on such a one.
                        if call.fresh or (call.sent and launching):
                            raise
                        said = await self._converse(host, program, call)
        except (TimeoutError, OSError, asyncssh.Error) as exc:
            raise call.failed(exc, f"within {self._timeout_s:g} s") from exc
        self._silences.over(host)
        return said

    async def _converse(self, host: Host, program: str, call: "_Call") -> str:
        connection = await self._connection(host, call)
        try:
            # What is run arrives on stdin: arguments can be read by every user of the host.
            process = await connection.create_process("exec /bin/sh -s", errors="replace", stderr=asyncssh.STDOUT)
            call.sent = True
            process.stdin.write(program)
            process.stdin.write_eof()
            return await _read(process)
        except (TimeoutError, asyncio.CancelledError, OSError, asyncssh.Error):
            self._drop(host, connection)
            raise

    async def _connection(self, host: Host, call: "_Call") -> asyncssh.SSHClientConnection:
        async with self._connecting.setdefault(host, asyncio.Lock()):
            known = self._connections.get(host)
            call.fresh = known is None or known.is_closed()
            if known is not None and not call.fresh:
                return known
            self._connections[host] = await self._connect(host, call)
            return self._connections[host]

    async def _connect(self, host: Host, call: "_Call") -> asyncssh.SSHClientConnection:
        expected = self._host_keys.of(host)
        tunnel = await self._tunnel(host)
        call.greeting = greeting = _Greeting()
        try:
            connection = await asyncssh.connect(
                host.address, host.port, tunnel=tunnel, username=host.user, client_keys=[self._key],
                client_factory=lambda: greeting,
                # Nothing of this machine's own SSH set-up: no agent, no configuration, no other key.
                config=None, agent_path=None, preferred_auth="publickey", gss_host=None,
                known_hosts=None if expected is None else (expected, [], []),
                server_host_key_algs=_algorithms(expected),
                keepalive_interval=15, keepalive_count_max=3, connect_timeout=self._timeout_s,
                login_timeout=self._timeout_s,
            )  # fmt: skip
        except asyncssh.HostKeyNotVerifiable as exc:
            raise self._host_keys.changed(host) from exc
        if expected is None:
            self._host_keys.record(host, _host_key(connection))
        return connection

    async def _tunnel(self, host: Host) -> asyncssh.SSHClientConnection | None:
        """The connection to the jump host, kept like any other; None for itself, and where there is none."""
        if self._via is None or host == self._via:
            return None
        call, patience_s = _Call(self._name, self._via, launching=False), self._timeout_s / 2
        try:
            # Half of the time, so that its silence is told as its own.
            async with asyncio.timeout(patience_s):
                return await self._connection(self._via, call)
        except (TimeoutError, OSError, asyncssh.Error) as exc:
            raise call.failed(exc, f"as a jump host within {patience_s:g} s") from exc

    def _drop(self, host: Host, connection: asyncssh.SSHClientConnection) -> None:
        if self._connections.get(host) is connection:
            del self._connections[host]
            # Others may still be waiting for their answers on it, each no longer than its time-out.
            asyncio.get_running_loop().call_later(self._timeout_s, connection.abort)


class _Greeting(asyncssh.SSHClient):
    """Tells whether a host got as far as saying that it speaks SSH."""

    def __init__(self) -> None:
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    @property
    def came(self) -> bool:
        """False for one that hung up at once, as sshd does with more than it wants (MaxStartups)."""
        return self._connection is None or bool(self._connection.get_extra_info("server_version"))


class _Call:
    """One program on its way: how far it got decides what a failure means."""

    def __init__(self, name: str, host: Host, *, launching: bool) -> None:
        self._name, self._host, self._launching = name, host, launching
        self.fresh, self.sent = True, False
        self.greeting = _Greeting()

    def failed(self, exc: Exception, within: str) -> errors.ProviderError:
        """The error for the caller."""
        where = f"{self._name}: {self._host.user}@{self._host.name}"
        if isinstance(exc, asyncssh.PermissionDenied):
            what = f"{where} does not accept the key; add its public half to ~/.ssh/authorized_keys there"
            return errors.CredentialsRejected(what)
        said = f"did not answer {within}" if isinstance(exc, TimeoutError) else f"failed: {type(exc).__name__}: {exc}"
        if self.sent and self._launching:
            return errors.UnknownOutcome(f"{where} {said}, after a launch was sent")
        if isinstance(exc, asyncssh.ConnectionLost | ConnectionResetError) and not self.greeting.came:
            return errors.RateLimited(f"{where} hung up at once: too many connections for it?", RETRY_AFTER_S)
        slow = isinstance(exc, TimeoutError | socket.gaierror) or getattr(exc, "errno", None) in _NO_WAY
        return (Silent if slow else errors.ProviderUnavailable)(f"{where} {said}")


async def _read(process: asyncssh.SSHClientProcess[str]) -> str:
    parts: list[str] = []
    size = 0
    while part := await process.stdout.read(65_536):
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER:
            process.close()
            raise OSError(f"it said more than {_MAX_ANSWER} characters")
    return "".join(parts)


def _algorithms(expected: Sequence[asyncssh.SSHKey] | None) -> Sequence[str]:
    """The expected keys' first, then all: a host that has only other keys is to show one, and be told from one away."""
    first = [algorithm.decode() for key in expected or () for algorithm in key.sig_algorithms]
    return [*first, *_HOST_KEY_ALGORITHMS]


def _host_key(connection: asyncssh.SSHClientConnection) -> asyncssh.SSHKey:
    key = connection.get_server_host_key()
    if key is None:
        raise errors.InvariantBroken("an SSH connection without a host key")
    return key


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
