"""A pool of hosts in this process: real SSH servers on 127.0.0.1 that run what they are told in a home of their own.

The processes are real and really die. What a host gets wrong is done at its edge: it hangs up, keeps its answer, is
full, or is somebody else's. Traps of SSH hosts: a host key that changes, a host that goes away with a launch half
said, locks whose owner died, start-up files that talk, and drivers that hang.
"""

import asyncio
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import psutil
from godwit.domain.clock import ManualClock
from godwit.providers.simulated.faults import Faults

from tests.contract.rigs import SLEEP

Done = TypeVar("Done")

USER = "ada"
CALM_S = 5.0
LAUNCH = re.compile(r"^launch (\S+) ", re.MULTILINE)
TYPE = re.compile(r'"instance_type": "([^"]+)"')
MACHINE = re.compile(r'^godwit: machine (?P<word>\S+) .*"token": "(?P<token>[^"]+)".*\n', re.MULTILINE)
GPU = "#!/bin/sh\nexec cat <<'EOF'\n{}EOF\n"


class Pool:
    """Hosts by their place in the pool; `faults` is what they all get wrong."""

    def __init__(self, shapes: tuple[tuple[str, ...], ...]) -> None:
        self.clock = ManualClock()
        self.faults = Faults()
        self.lock = threading.Lock()
        self.launched_at: dict[str, float] = {}
        self.forwarded: list[int] = []
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self._root = Path(tempfile.mkdtemp(prefix="godwit-pool-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.hosts = [PoolHost(self, self._root / f"host-{index}", gpus) for index, gpus in enumerate(shapes)]
        self.taken = PoolHost(self, self._root / "taken", ())

    @property
    def option(self) -> str:
        """The option `hosts`; each costs a little more than the one before."""
        return ",".join(f"{USER}@127.0.0.1:{host.port}={index + 1}" for index, host in enumerate(self.hosts))

    @property
    def private_key(self) -> str:
        """The text of the key that all hosts accept."""
        return self.key.export_private_key().decode()

    @contextmanager
    def serving(self) -> Iterator["Pool"]:
        """All hosts up; afterwards no process and no folder of them may be left."""
        self._thread.start()
        try:
            for host in self.hosts:
                self.run(host.open())
            yield self
            for host in self.hosts:
                self.run(host.close())
            self.wait_for_calm()
            assert self._folders("host-*") == [], "folders of machines outlived them"
        finally:
            for process in self.processes():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.run(_cancel_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            for host in [*self.hosts, self.taken]:
                host.give_up_port()
            for folder in [*self._folders("*"), self._root]:
                shutil.rmtree(folder, ignore_errors=True)

    def _folders(self, hosts: str) -> list[Path]:
        """The folders of machines outside of their homes."""
        kept = self._root.glob(f"{hosts}/home/.godwit-host/*/machines/*/node_dir")
        return [folder for folder in (Path(file.read_text().strip()) for file in kept) if folder.exists()]

    def run(self, coroutine: Coroutine[Any, Any, Done]) -> Done:
        """Run something where the servers run."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def set_faults(self, faults: Faults) -> None:
        """Get something wrong from now on."""
        with self.lock:
            self.faults = faults
            for host in self.hosts:
                host.drops = faults.rate_limit
        if faults.rate_limit:
            for host in self.hosts:
                self.run(host.hang_up())

    def strike(self, counter: str) -> bool:
        """Whether a fault that is counted strikes now."""
        with self.lock:
            if not getattr(self.faults, counter):
                return False
            self.faults = self.faults.after(counter)
            return True

    def refuses(self, instance_type: str) -> bool:
        """Whether a launch of this type finds the host taken."""
        with self.lock:
            key = self.faults.refuses(instance_type)
            if key is not None:
                self.faults = self.faults.after_refusal(key)
            return key is not None

    def wait_for_calm(self) -> None:
        """Let what a host does of its own come to its end: what ended a machine ends an instant after it.

        A process of a machine has no reason to, so one that is left fails the test.
        """
        taken = set(self.processes(self.taken.home))
        deadline = time.monotonic() + CALM_S
        while left := set(self.processes()) - taken:
            assert time.monotonic() < deadline, f"processes of machines outlived them: {left}"
            time.sleep(0.02)

    def processes(self, home: Path | None = None) -> list[psutil.Process]:
        """Every live process that runs in this home; left out: in any of the pool's."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME", "").startswith(str(home or self._root)):
                    found.append(process)
        return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


class PoolHost:
    """One host: a port, a home, a host key, and the GPUs that its nvidia-smi shows."""

    def __init__(self, pool: Pool, folder: Path, gpus: tuple[str, ...]) -> None:
        self._pool = pool
        self.home, self._bin = folder / "home", folder / "bin"
        for path in (self.home, self._bin):
            path.mkdir(parents=True)
        if gpus:
            self.tool("nvidia-smi", GPU.format("".join(f"{gpu}\n" for gpu in gpus)))
        # Stands for an image's Python: it has an agent that stays.
        self.tool("agent-python", '#!/bin/sh\n[ "$1" = -m ] && exec sleep 1000\nexit 0\n')
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._reserved = _reserved_port()
        self.port = int(self._reserved.getsockname()[1])
        self.drops, self.says, self.cut_after = 0, "", 0
        self.mute, self.knocks = False, 0
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def python(self) -> Path:
        """An interpreter whose agent does nothing but live."""
        return self._bin / "agent-python"

    def tool(self, name: str, script: str) -> None:
        """Put a program on its PATH."""
        path = self._bin / name
        path.write_text(script)
        path.chmod(0o755)

    async def open(self) -> None:
        """Be there."""
        self._listener = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Be away: nobody listens, and all connections are cut."""
        if self._listener is not None:
            self._listener.close()
        await self.hang_up()

    def give_up_port(self) -> None:
        """Never be there again."""
        self._reserved.close()

    async def fall_silent(self) -> None:
        """Take connections and never say a word, as a machine that hangs."""
        self.mute = True
        await self.hang_up()

    async def hang_up(self) -> None:
        """Cut all connections."""
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in list(self._connections)))

    def _accept(self) -> asyncio.Protocol:
        self.knocks += 1
        if self.mute:
            return asyncio.Protocol()
        if self.drops:
            self.drops -= 1
            return _HangingUp()
        options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: _Door(self._pool, self._connections, self._serve),
            server_host_keys=[self.host_key],
            login_timeout=10,
        )
        return asyncssh.SSHServerConnection(asyncio.get_running_loop(), options)

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        program = await process.stdin.read()
        if self.cut_after:
            program = program[: self.cut_after]
        launch = LAUNCH.search(program)
        home = self.home if launch is None else await self._home_for(program)
        output = await self._execute(str(process.command), program, home)
        if launch is not None and "machine" in output:
            self._pool.launched_at.setdefault(launch[1], self._pool.clock.now())
        if launch is not None and self._pool.strike("lose_answers"):
            process.channel.get_connection().abort()
            return
        await asyncio.sleep(self._pool.faults.delay_s)
        with suppress(asyncssh.Error, OSError):  # nobody waits for it any more
            process.stdout.write(self.says + self._distorted(output, launching=launch is not None))
            process.exit(0)

    async def _home_for(self, program: str) -> Path:
        kind = TYPE.search(program)
        if self._pool.strike("fail_launches"):
            return Path("/proc/none")  # where nothing can be written, as on a full disk
        if kind is not None and self._pool.refuses(kind[1]):
            await self._pool.taken.be_taken(program)
            return self._pool.taken.home
        return self.home

    async def be_taken(self, program: str) -> None:
        """Let somebody else's machine run here, for as long as it takes to refuse one."""
        verb = program.index("\nlaunch ") + 1
        facts = '{"id": "theirs", "token": "theirs", "owner": "them", "instance_type": "1xCPU"}'
        launch = f"launch theirs ssh-theirs '{facts}' '' '{SLEEP}'\nsay done\nexit\n}}\n"
        await self._execute("/bin/sh -s", program[:verb] + launch, self.home)

    async def _execute(self, command: str, program: str, home: Path) -> str:
        environment = {"HOME": str(home), "PATH": f"{self._bin}:/usr/sbin:/usr/bin:/sbin:/bin"}
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", command, env=environment, cwd=home if home.exists() else "/", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await child.communicate(program.encode())
        return output.decode(errors="replace")

    def _distorted(self, output: str, *, launching: bool) -> str:
        faults, now = self._pool.faults, self._pool.clock.now()
        if launching:
            return output

        def told(line: re.Match[str]) -> str:
            if faults.list_lag_s and now - self._pool.launched_at.get(line["token"], 0.0) < faults.list_lag_s:
                return ""
            if faults.state_word and line["word"] == "running":
                return line[0].replace("machine running", f"machine {faults.state_word}")
            return line[0]

        return MACHINE.sub(told, output)


class _Door(asyncssh.SSHServer):
    """Lets the one key in, and nobody run anything while the pool is unavailable."""

    def __init__(
        self,
        pool: Pool,
        connections: set[asyncssh.SSHServerConnection],
        serve: Callable[[asyncssh.SSHServerProcess[str]], Coroutine[Any, Any, None]],
    ) -> None:
        self._pool, self._connections, self._serve = pool, connections, serve

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key == self._pool.key.convert_to_public()

    def connection_requested(self, dest_host: str, dest_port: int, _orig_host: str, _orig_port: int) -> bool:
        """As a jump host is asked to."""
        self._pool.forwarded.append(dest_port)
        return dest_host == "127.0.0.1"

    def session_requested(self) -> asyncssh.SSHServerProcess[str]:
        """Raises while nothing can be run here."""
        if self._pool.faults.unavailable:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "no more processes")
        return asyncssh.SSHServerProcess(self._serve, None, 3, False)


class _HangingUp(asyncio.Protocol):
    """What sshd does with a connection more than it wants."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _cancel_all() -> None:
    """End what still keeps an answer back."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _reserved_port() -> socket.socket:
    """A socket that keeps a port for as long as it is open: nobody else gets it, and it refuses all connections."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets our own listener have it too
    reserved.bind(("127.0.0.1", 0))
    return reserved
