"""A replica of a service on its node: its port, its plain process where it needs no Ray, and who asks how it is."""

import socket
import time
from collections.abc import Callable
from typing import Any

from godwit.agents.effects import Replica, RuntimeEvent
from godwit.agents.runtime import ray_cluster, ray_job
from godwit.agents.runtime.folder import AttemptFolder, ExitRecord
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.probing import Prober
from godwit.agents.runtime.ray_job import ClusterNotReady
from godwit.domain.wire.agents import StartAttempt

POLL_S = 0.05
DEAD_GRACE_S = 5.0
"""How long a replica that does not answer has to end: as long as any program that is told to stop."""


def is_plain(command: StartAttempt) -> bool:
    """Whether it runs as a plain process, without a Ray cluster."""
    if command.desk is not None:
        return True
    return command.serve is not None and not command.serve.ray and len(command.peers) == 1


def with_port(command: StartAttempt, folder: AttemptFolder, address: str) -> StartAttempt:
    """The command with the port of the replica in its environment: the one it asked for, or a free one.

    It is chosen once: an agent that takes over finds it in the folder. That it is still free when the program binds it
    is likely and not certain; a program that does not get it ends, and the next replica has another.
    """
    if command.serve is None:
        return command
    kept = folder.root / "port"
    if not kept.exists():
        write_whole(kept, str(command.serve.port or _free_port()))
    port = kept.read_text()
    # Serve's proxy, which is on the head alone, would ask the head's own copy as long as that takes anything.
    spread = {"RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0"} if len(command.peers) > 1 else {}
    # What its owner wrote goes first: a program may want another name for where to listen.
    env = {"PORT": port, "GODWIT_HOST": address, **spread, **command.env, "GODWIT_PORT": port}
    return command.model_copy(update={"env": env})


def port_of(folder: AttemptFolder) -> int:
    """The port that was chosen."""
    return int((folder.root / "port").read_text())


def _free_port() -> int:
    # On every address, since programs listen on all of them and nodes may share a machine.
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


def steps(command: StartAttempt, folder: AttemptFolder) -> list[dict[str, Any]]:
    """What the guard does for a plain process; the wrapper that leaves its pid and exit code is written here."""
    where = {"cwd": str(folder.workdir), "log": str(folder.output)}
    setup = [{"name": "setup", "argv": ["sh", "-c", command.setup], **where}] if command.setup else []
    program = ray_job.write_program(command, folder)
    return [*setup, {"name": "program", "argv": ["sh", str(program)], **where}]


class PlainJob:
    """The program as the guard's own step, watched as a Ray job is. `going_on()` says whether to keep waiting."""

    def __init__(self, folder: AttemptFolder, going_on: Callable[[], bool]) -> None:
        self._folder, self._going_on = folder, going_on

    def wait_for_nodes(self, timeout_s: float) -> None:
        """There is one node: this one."""

    def submit(self, timeout_s: float) -> None:
        """Wait until set-up is over and the program runs. Raises `ClusterNotReady`."""
        deadline = time.monotonic() + timeout_s
        while self._going_on() and not self._folder.program_started():
            if time.monotonic() > deadline:
                raise ClusterNotReady(f"the program did not start within {timeout_s:g} s")
            time.sleep(POLL_S)

    def ended(self) -> tuple[str, int | None] | None:
        """The guard sees the end of its own step."""
        return None

    def close(self) -> None:
        """Nothing is held."""


class Watch:
    """Asks the replica of an attempt, if it is one, from when its program runs until it ends."""

    def __init__(
        self,
        command: StartAttempt,
        folder: AttemptFolder,
        emit: Callable[[RuntimeEvent], None],
        stop: Callable[[float], None],
    ) -> None:
        self._command, self._folder, self._emit, self._stop = command, folder, emit, stop
        self._prober: Prober | None = None
        self.died = ""
        """Why it was ended because it did not answer; empty while it was not."""

    def start(self) -> None:
        """The program runs: begin to ask. Harmless to repeat, and for what is no replica."""
        serve = self._command.serve
        if serve is None or self._prober is not None:
            return
        host = ray_cluster.head_address(self._command)
        self._prober = Prober(serve, host, port_of(self._folder), self._say, self._end)
        self._prober.start()

    def close(self) -> None:
        """The program has ended, or will."""
        if self._prober is not None:
            self._prober.close()

    def ended(self, record: ExitRecord, code: int | None) -> tuple[str, int | None] | None:
        """Why the replica failed, and its exit code; None where its end is not its own doing, or it is no replica.

        `code` is that of a program that ended by itself: for a service that is a failure, whatever it says.
        """
        if self._command.serve is None:
            return None
        if self.died:
            return self.died, code
        if code is None and record.step == "program" and record.cause == "ended":
            code = record.exit_code  # its wrapper was killed with it
        return None if code is None else (f"its program ended with exit code {code}; that of a service does not", code)

    def _say(self, ready: bool, detail: str) -> None:
        self._folder.notice("it takes requests" if ready else f"it takes no requests: {detail}")
        self._emit(Replica(self._command.attempt_id, ready, port_of(self._folder), detail))

    def _end(self, why: str) -> None:
        self.died = why
        self._folder.notice(f"it is started anew: {why}")
        self._stop(DEAD_GRACE_S)
