"""Stands in for `ray start --block` where a plain command will do: it takes a tenth of a second instead of five.

It keeps to what godwit and Ray agree on: the head answers the jobs API and the list of nodes, starts a job once, and
ends when told; a node joins the head's port, and ends with 1 when the head is silent for too long, as a raylet does.
When the job starts, each other node runs $EACH_NODE_RUNS, which is what a real Ray's workers would be for.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IS_UP = "Ray runtime started."

BEAT_S, SILENT_S = 0.5, 6.0
"""How often head and node hear of each other, and after how long a silent one is given up."""


class Head:
    """The jobs and the nodes of one cluster."""

    def __init__(self, address: str, port: int, dashboard: int) -> None:
        self.job: subprocess.Popen[bytes] | None = None
        self.job_id = ""
        self.nodes: list[socket.socket] = []
        self.lock = threading.Lock()
        self._listener = socket.create_server((address, port))
        handler = type("Handler", (_Handler,), {"head": self})
        self._http = ThreadingHTTPServer((address, dashboard), handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def run(self) -> None:
        """Take nodes in, for ever."""
        while True:
            node, _ = self._listener.accept()
            node.settimeout(SILENT_S)
            with self.lock:
                self.nodes.append(node)
            threading.Thread(target=self._hear, args=(node,), daemon=True).start()

    def _hear(self, node: socket.socket) -> None:
        try:
            while node.recv(64):
                node.sendall(b"go\n" if self.job is not None else b"wait\n")
        except OSError:
            pass
        with self.lock:
            self.nodes.remove(node)
        node.close()

    def submit(self, job_id: str, entrypoint: str) -> bool:
        """Start a job, once; returns whether it is new."""
        with self.lock:
            if self.job is not None:
                return False
            self.job_id = job_id
            self.job = subprocess.Popen(["sh", "-c", entrypoint], start_new_session=True)
            threading.Thread(target=self.job.wait, daemon=True).start()
            return True

    def described(self) -> dict[str, object]:
        """The job as the jobs API tells of it."""
        code = None if self.job is None else self.job.returncode
        status = "RUNNING" if code is None else "SUCCEEDED" if code == 0 else "FAILED"
        return {"status": status, "message": f"exit code {code}", "driver_exit_code": code}


class _Handler(BaseHTTPRequestHandler):
    head: Head

    def log_message(self, *_args: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path.startswith("/nodes"):
            alive = [{"raylet": {"state": "ALIVE"}} for _ in range(1 + len(self.head.nodes))]
            self._answer(200, {"data": {"summary": alive}})
        else:
            self._answer(200, self.head.described())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_new = self.head.submit(asked["submission_id"], asked["entrypoint"])
        self._answer(200 if is_new else 500, {"submission_id" if is_new else "already exists": self.head.job_id})

    def _answer(self, status: int, said: dict[str, object]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def join(address: str, port: int) -> int:
    """Be a node of the head there, until it is not heard any more."""
    job: subprocess.Popen[bytes] | None = None
    try:
        with socket.create_connection((address, port), timeout=SILENT_S) as head:
            while True:
                head.sendall(b"here\n")
                if b"go" in head.recv(64) and job is None:
                    job = subprocess.Popen(["sh", "-c", os.environ["EACH_NODE_RUNS"]], start_new_session=True)
                time.sleep(BEAT_S)
    except OSError as exc:
        sys.stderr.write(f"the head is not heard any more: {exc}\n")
        return 1


def main() -> int:
    """Be what the flags say."""
    flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv if "=" in word)
    if "address" in flags:
        address, _, port = flags["address"].partition(":")
        print(IS_UP, flush=True)
        return join(address, int(port))
    head = Head(flags["node-ip-address"], int(flags["port"]), int(flags["dashboard-port"]))
    print(IS_UP, flush=True)
    head.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
