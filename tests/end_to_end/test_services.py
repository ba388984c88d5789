"""A service through the command line, with real processes on simulated machines: it serves, changes, heals and goes."""

import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

SERVER = """\
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["SAYS"].encode())

    def log_message(self, *_args):
        pass

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


def written(folder: Path, says: str) -> str:
    """A specification of the service, which answers with `says`."""
    (folder / "serve.py").write_text(SERVER)
    spec = folder / "service.yaml"
    spec.write_text(
        f"kind: service\nname: hello\nworkdir: .\nrun: python serve.py\nenv: {{SAYS: {says}}}\nreplicas: 2\n"
        "readiness: {path: /, period: 200ms, timeout: 20s}\nresources: {gpus: 'H100:1', spot: never}\n"
        "rollout: {bake: 1s}\n"
    )
    return str(spec)


def ready(system: System) -> list[dict[str, Any]]:
    """The replicas that take requests."""
    return [one for one in system.read("services", "show", "hello")["replica_list"] if one["state"] == "ready"]


def answers(system: System) -> set[str]:
    """What replicas answer that take requests, as far as anybody knows yet."""
    found = set()
    for one in ready(system):
        try:
            with urllib.request.urlopen(one["url"], timeout=30) as answer:
                found.add(answer.read().decode())
        except OSError:
            found.add("nothing")
    return found


def test_a_service_serves_changes_heals_and_goes(system: System, tmp_path: Path) -> None:
    ran = system.godwit("run", "-y", written(tmp_path, "one"))
    assert ran.returncode == 0, ran.stderr
    assert (len(ready(system)), answers(system)) == (2, {"one"})
    changed = system.godwit("run", "-y", written(tmp_path, "two"))
    assert changed.returncode == 0, changed.stderr
    assert answers(system) == {"two"}
    _kill(ready(system)[0]["url"])
    wait_for("another replica", 120, lambda: len(ready(system)) == 2 and answers(system) == {"two"})
    assert system.godwit("scale", "hello", "1").returncode == 0
    wait_for("one replica fewer", 120, lambda: len(system.read("services", "show", "hello")["replica_list"]) == 1)
    assert answers(system) == {"two"}
    assert system.godwit("services", "rm", "hello").returncode == 0
    wait_for("the end of the service", 120, lambda: system.read("services") == [])
    assert system.read("services", "-a")[0]["state"] == "deleted"


def _kill(url: str) -> None:
    """End the process that listens there without a word."""
    port = url.rpartition(":")[2]
    for process in psutil.process_iter():
        try:
            if "serve.py" in " ".join(process.cmdline()) and process.environ().get("GODWIT_PORT") == port:
                process.kill()
        except psutil.Error:
            continue
