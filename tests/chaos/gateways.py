"""Two gateways with a service behind them, and somebody who asks it all the time: whichever of the two answers."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from tests.chaos.units import Unit
from tests.chaos.work import Client

NAMES = ("g1", "g2")
SERVICE, WORD, REPLICAS = "word", "godwit", 2
PAUSE_S = 0.1
ANSWER_S = 30.0
"""Longer than a gateway lets anybody wait."""

RETRYABLE = frozenset({429, 502, 503})
NOTED_MAX = 10

_SERVER = f"""\
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "{len(WORD)}")
        self.end_headers()
        self.wfile.write(b"{WORD}")

    def log_message(self, *_args):
        pass

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


def unit(home: Path, name: str, port: int, url: str) -> Unit:
    """The unit that serves one; what it knew last lies on its disk."""
    words = ["--port", str(port), "--name", name, "--cache", str(home / f"{name}.json"), "--no-access-log"]
    told = {"GODWIT_URL": url, "GODWIT_TOKEN_FILE": str(home / "token")}
    command = [sys.executable, "-m", "godwit.gateway", *words]
    return Unit(f"gateway {name}", command, home / f"{name}.log", lambda: _is_ready(port), told)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def service(folder: Path) -> dict[str, object]:
    """A service of two replicas, each an ordinary program."""
    program = folder / "word_service.py"
    program.write_text(_SERVER)
    return {
        "kind": "service", "name": SERVICE, "run": f"{sys.executable} -S {program}", "replicas": REPLICAS,
        "keyless": True, "resources": {"gpus": "H100:1", "spot": "never"}, "drain": "5s",
        "readiness": {"path": "/", "period": "500ms", "timeout": "20s"},
    }  # fmt: skip


class User:
    """A thread that asks for the word, and notes what it was told; begins once each gateway has told it."""

    def __init__(self, ports: Mapping[str, int], client: Client) -> None:
        self._ports, self._client = dict(ports), client
        self._http = httpx.Client(timeout=ANSWER_S, trust_env=False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="user", daemon=True)
        self.answered = self.went_on = 0
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []

    def is_served(self) -> bool:
        """Whether each gateway answers with the word."""
        return all(self._word(port) == "" for port in self._ports.values())

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join(ANSWER_S * len(self._ports))
        assert not self._thread.is_alive(), "a request was not answered at all"

    def is_converged(self) -> bool:
        """Whether each gateway knows just the replicas that take requests, and the word is told by each."""
        replicas = self._client.ask("GET", f"/v1/services/{SERVICE}")["replica_list"]
        if [one["state"] for one in replicas if one["state"] != "gone"] != ["ready"] * REPLICAS:
            return False
        (route,) = self._client.ask("GET", "/v1/routes")["services"]
        served = {one["id"] for one in route["replicas"]}
        return len(served) == REPLICAS and all(known == served for known in self._known()) and self.is_served()

    def is_forgotten(self) -> bool:
        """Whether no gateway sends anything to a replica any more."""
        return all(known == set() for known in self._known())

    def _known(self) -> list[set[str] | None]:
        found: list[set[str] | None] = []
        for port in self._ports.values():
            try:
                services = self._http.get(f"http://127.0.0.1:{port}/-/state").json()["services"]
                found.append(set(services.get(f"default/{SERVICE}", {}).get("replicas", {})))
            except httpx.TransportError:
                found.append(None)
        return found

    def _run(self) -> None:
        turn: Sequence[int] = list(self._ports.values())
        while not self._over.wait(PAUSE_S):
            turn = [*turn[1:], turn[0]]
            self._ask(turn)

    def _ask(self, ports: Sequence[int]) -> None:
        """Of the first that answers at all."""
        for port in ports:
            why = self._word(port)
            if why is None:
                self.went_on += 1
                continue
            self.answered += why == ""
            if why:
                self._note(why)
            return
        self._note(f"{time.strftime('%X')}: no gateway answered")

    def _note(self, why: str) -> None:
        if why.startswith("refused: "):
            self.refused[why.removeprefix("refused: ")] += 1
        elif len(self.wrong) < NOTED_MAX:
            self.wrong.append(why)

    def _word(self, port: int) -> str | None:
        """What is wrong with an answer; None where there is none."""
        try:
            answer = self._http.get(f"http://127.0.0.1:{port}/services/default/{SERVICE}/")
        except httpx.TimeoutException:
            return f"{time.strftime('%X')}: a request was not answered within {ANSWER_S:g} s"
        except httpx.TransportError:
            return None
        if answer.status_code in RETRYABLE and ("X-Godwit-Shed" in answer.headers or "Retry-After" in answer.headers):
            return f"refused: {answer.headers.get('X-Godwit-Shed', answer.status_code)}"
        if (answer.status_code, answer.text) != (200, WORD):
            return f"{time.strftime('%X')}: a request was answered with {answer.status_code}: {answer.text[:200]}"
        return ""
