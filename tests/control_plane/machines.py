"""A machine for startup scripts: nothing on its PATH but what a test puts there, and a control plane that listens."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest
from godwit.control_plane import settings
from godwit.control_plane.executors.bootstrap import startup_script
from godwit.control_plane.keyring import Keyring

COREUTILS = ("cat", "chmod", "cp", "cut", "date", "id", "mkdir", "rm", "tail", "touch", "wc")
"""What a container has whose image has nothing else, and what the stubs below need."""

TOKEN = "node-0000000000000a." + "5ec2e7" * 10

WRAPPER = """#!/bin/sh
printf '%s\\n' "$0 $*" >>{folder}/arguments
exec {tool} "$@"
"""

PYTHON = """#!/bin/sh
folder={folder}
printf '%s\\n' "$0 $*" >>$folder/arguments
case $* in
  '-m godwit.agents')
    echo "$0|$GODWIT_URL|$GODWIT_JOIN_TOKEN|$GODWIT_NODE_DIR|$GODWIT_NODE_ADDRESS|$GODWIT_PYTHON" >>$folder/runs
    echo "agent: run $(wc -l <$folder/runs)" >&2
    {agent}
    [ "$(wc -l <$folder/runs)" -ge {well_at} ] ;;
  '-c import godwit.agents.main, ray') [ -e "$0.agent" ] || {{ echo 'No module named godwit'; exit 1; }} ;;
  '-c import socket'*) echo 10.1.2.3 ;;
  '-c import sys'*) {version} ;;
  '-c import os'*) {http} ;;
  '-m pip --version') [ -e "$0.pip" ] ;;
  '-m pip install'*) {pip} && touch "$0.agent" ;;
  '-m venv'*)
    for last; do :; done
    mkdir -p "$last/bin" && cp "$0" "$last/bin/python" && {venv} ;;
  *) echo "a call that no test foresaw: $*" >&2; exit 9 ;;
esac
"""


def longest_script() -> str:
    """The startup script of a control plane whose settings are as long as they may be."""
    token = Keyring(b"k").join_token("node-0000000000000a", "intent-0000000000000a")
    url = "https://" + "u" * (settings.URL_CHARACTERS_MAX - 8)
    return startup_script(url, token, "p " + "p" * (settings.PACKAGE_CHARACTERS_MAX - 2), spot=True, tls=True)


class Machine:
    """A machine with `folder`/bin on its PATH. Pauses take no time, and are written down like every argument."""

    def __init__(self, folder: Path, *tools: str) -> None:
        self.folder, self.bin, self.node_dir = folder, folder / "bin", folder / "node"
        self.bin.mkdir()
        for name in (*COREUTILS, *tools):
            found = shutil.which(name) or pytest.skip(f"this computer has no {name}")
            self.tool(name, WRAPPER.format(folder=folder, tool=found))
        self.tool("sleep", f"#!/bin/sh\necho $1 >>{folder}/pauses\n")

    def tool(self, name: str, script: str) -> Path:
        """Put a program on its PATH."""
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def python(
        self,
        name: str = "python3",
        *,
        has_agent: bool = False,
        well_at: int = 1,
        agent: str = ":",
        version: str = "exit 0",
        pip: str = "true",
        http: str = f'exec {sys.executable} "$@"',
        venv: str = 'touch "$last/bin/python.pip"',
    ) -> Path:
        """A Python on paper. Its agent ends well at the n-th start; the rest is what its commands do in the shell."""
        fill = {"well_at": well_at, "agent": agent, "version": version, "pip": pip, "http": http, "venv": venv}
        path = self.tool(name, PYTHON.format(folder=self.folder, **fill))
        if has_agent:
            (self.bin / f"{name}.agent").touch()
        return path

    def boot(self, shell: list[str], script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the script as a machine does: nearly no environment. Its input is none of the agent's business."""
        own = {"PATH": str(self.bin), "HOME": str(self.folder), "GODWIT_NODE_DIR": str(self.node_dir), **environment}
        return subprocess.run(
            [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", script], env=own, cwd=self.folder,
            input="typed\n", capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def lines(self, name: str) -> list[str]:
        """What was written down: "runs" of agents, "arguments" of programs, "pauses"."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def runs(self) -> list[list[str]]:
        """What each start of the agent saw: Python, URL, token, folder, address, GODWIT_PYTHON."""
        return [line.split("|") for line in self.lines("runs")]


class Listener:
    """A control plane that only hears of startup failures; it is busy for the first `busy` calls."""

    def __init__(self, busy: int = 0) -> None:
        self.calls = 0
        self.heard: list[tuple[str, str]] = []
        self.busy = busy
        self.url = ""

    def answer(self, path: str, authorization: str, body: str) -> int:
        """The status of one call."""
        self.calls += 1
        if self.calls <= self.busy:
            return 503
        if path != "/v1/agent/startup-failure" or authorization != f"Bearer {TOKEN}":
            return 401
        self.heard.append((body.splitlines()[-1], body))
        return 204


@contextmanager
def listening(busy: int = 0) -> Iterator[Listener]:
    """A listener on loopback."""
    listener = Listener(busy)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self.send_response(listener.answer(self.path, self.headers.get("Authorization", ""), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    listener.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield listener
    server.shutdown()
    thread.join()
    server.server_close()


def stub_wheel(folder: Path) -> Path:
    """A wheel that stands for godwit: its agent writes down how it was started, and ends well."""
    folder.mkdir()
    wheel = folder / "godwit-0.0.1-py3-none-any.whl"
    agent = "import os, sys\nopen(os.environ['GODWIT_NODE_DIR'] + '/ran', 'w').write(sys.executable)\n"
    facts = "godwit-0.0.1.dist-info"
    files = {
        "godwit/agents/main.py": "",
        "ray.py": "",
        "godwit/agents/__main__.py": agent,
        f"{facts}/METADATA": "Metadata-Version: 2.1\nName: godwit\nVersion: 0.0.1\nProvides-Extra: agent\n",
        f"{facts}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in [*files, f"{facts}/RECORD"])
        archive.writestr(f"{facts}/RECORD", record)
    return wheel
