"""The watches of one gang, node to node: the head's asks the others, and tells each what concerns its own node.

    GET  /stacks     what the processes of the attempt on this node do, as JSON
    GET  /windows    what steps of its ranks took
    POST /findings   a finding of this node's, which only a look at the whole gang could make

Nodes other than the head listen on their gang address while the attempt lives (the third of the attempt's ports, which
Ray uses on the head alone), and answer only who knows a digest of the token of the attempt's Ray cluster.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx
import structlog
from godwit.agents.checks.work.ranks import Windows
from godwit.agents.checks.work.stacks import ALL_S, Stack, Target
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

BODY_BYTES_MAX = 1024 * 1024
STACKS_MAX = 1_024
"""Of one node; it has some processes for each GPU."""

AT_ONCE = 16
"""How many nodes are asked at a time: a gang of 512 nodes is through in 32 rounds of some milliseconds."""

CONNECT_S, ANSWER_S = 2.0, ALL_S + 5.0
IDLE_S = 0.5
"""How long the end of an attempt waits for its server to hear of it."""

Read = TypeVar("Read")

Answer = Callable[[str, Mapping[str, Any] | None], Any]
"""What a server is asked: a path, and what was posted; returns what is sent as JSON, None for an unknown path."""


@dataclass(frozen=True)
class Place:
    """This node's place in a gang: the addresses of all by rank, the port of the watches, and their token."""

    rank: int
    addresses: Mapping[int, str]
    port: int
    token: str

    @property
    def leads(self) -> bool:
        """Whether this is the head."""
        return self.rank == min(self.addresses)


def place_of(command: StartAttempt) -> Place | None:
    """The place of this node; None where it is alone."""
    if len(command.peers) < 2:
        return None
    token = hmac.new(command.ray_token.encode(), b"godwit: watches of a gang", hashlib.sha256).hexdigest()
    return Place(command.rank, {peer.rank: peer.address for peer in command.peers}, command.port + 2, token)


class Gang:
    """The other nodes, as the head asks them. A node that does not answer is left out; it has troubles of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def stacks(self) -> dict[int, list[Stack]]:
        """What the processes of each node do, by the nodes' ranks; blocks for up to `ANSWER_S`."""
        return _read(self._all("/stacks"), lambda rank, told: [_stack(rank, one) for one in told[:STACKS_MAX]])

    def windows(self) -> dict[int, Windows]:
        """The windows of each node."""
        return _read(
            self._all("/windows"),
            lambda _rank, told: {
                int(number): {int(r): float(s) for r, s in window.items()} for number, window in told.items()
            },
        )

    def tell(self, rank: int, finding: Mapping[str, Any]) -> bool:
        """Let a node report a finding of its own; returns whether it heard."""
        return self._ask(rank, "/findings", finding) is not None

    def _all(self, path: str) -> dict[int, Any]:
        others = [rank for rank in sorted(self._place.addresses) if rank != self._place.rank]
        with ThreadPoolExecutor(min(AT_ONCE, len(others))) as pool:
            answers = pool.map(lambda rank: self._ask(rank, path), others)
            return {rank: answer for rank, answer in zip(others, answers, strict=True) if answer is not None}

    def _ask(self, rank: int, path: str, posted: Mapping[str, Any] | None = None) -> Any:
        url = f"http://{self._place.addresses[rank]}:{self._place.port}{path}"
        try:
            answer = httpx.request(
                "GET" if posted is None else "POST", url, json=posted,
                headers={"Authorization": f"Bearer {self._place.token}"},
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                trust_env=False,  # proxies are for the way out
            )  # fmt: skip
            return answer.json() if answer.is_success and len(answer.content) <= BODY_BYTES_MAX else None
        except (httpx.HTTPError, ValueError, RecursionError) as exc:
            log.debug("a node's watch does not answer", rank=rank, path=path, reason=f"{type(exc).__name__}: {exc}")
            return None


def _read(answers: Mapping[int, Any], read: Callable[[int, Any], Read]) -> dict[int, Read]:
    """What each node says; one that says what nobody asked for is left out, as one that says nothing."""
    found = {}
    for rank, told in answers.items():
        try:
            found[rank] = read(rank, told)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            log.info("a node's watch says what cannot be read", rank=rank, reason=type(exc).__name__)
    return found


def _stack(rank: int, told: Mapping[str, Any]) -> Stack:
    target = Target(int(told["pid"]), f"{told['name']} on node {rank}"[:200], str(told["kind"])[:200])
    return Stack(target, tuple(str(frame)[:500] for frame in told["frames"][:100]), str(told["problem"])[:500])


def told_of(stack: Stack) -> dict[str, Any]:
    """A stack on its way."""
    target = stack.target
    return {
        "pid": target.pid, "name": target.name, "kind": target.kind, "frames": stack.frames, "problem": stack.problem,
    }  # fmt: skip


class Server:
    """Answers the head, for a node that is not the head. Raises `OSError` where the port cannot be had."""

    def __init__(self, place: Place, answer: Answer) -> None:
        handler = type("Handler", (_Handler,), {"place": place, "answer": staticmethod(answer)})
        self._http = ThreadingHTTPServer((place.addresses[place.rank], place.port), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(IDLE_S,), name="gang", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    place: Place
    answer: Answer
    timeout = ANSWER_S

    def log_message(self, *_args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        told = self.headers.get("Content-Length") or ""
        length = int(told) if told.isdecimal() and len(told) < 10 else 0
        body = self.rfile.read(length) if 0 < length <= BODY_BYTES_MAX else b""
        try:
            posted = json.loads(body)
        except (ValueError, RecursionError):
            posted = None
        if isinstance(posted, dict):
            self._reply(posted)
        else:
            self.send_error(HTTPStatus.BAD_REQUEST)

    def _reply(self, posted: Mapping[str, Any] | None) -> None:
        told = self.headers.get("Authorization", "")
        if not hmac.compare_digest(told.encode(), f"Bearer {self.place.token}".encode()):
            self.send_error(HTTPStatus.UNAUTHORIZED)
            return
        said = type(self).answer(self.path, posted)
        body = b"" if said is None else json.dumps(said).encode()
        self.send_response(HTTPStatus.NOT_FOUND if said is None else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
