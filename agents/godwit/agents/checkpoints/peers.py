"""Copies between the nodes of a gang, over the network that its program uses too: a small server on each node.

    GET  /names/<folder>         names in a folder of this node's copies, as JSON
    GET  /files?path=<path>      one file of them
    GET  /start                  what rank 0 chose to start from (204: not chosen yet)
    POST /copies                 {"manifest": <name>, "rank": n}: rank n asks this node to fetch a copy from it

It listens on the node's gang address alone, while the attempt lives, and answers only who knows the attempt's token:
a digest of the one that guards its Ray cluster. Nothing leaves the folder of this job's copies.
"""

import hashlib
import hmac
import json
import posixpath
import shutil
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, quote, urlparse

import httpx
import structlog
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.store import BLOCK_BYTES, Store, StoreUnavailable
from godwit.domain.checkpoints import CheckpointFile, Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

BODY_BYTES_MAX = 64 * 1024
ANSWER_S = 30.0
"""How long a peer may be silent: it answers from its disk, but may have to read a large file first."""

COPY_S_MIN = 60.0
COPY_BYTES_PER_S = 50e6
"""What a peer's copying is given: a minute, and what half a gigabit per second needs. Then it counts as failed."""

LOOK_S = 0.1
"""How long the end of an attempt waits for its server to hear of it."""

FREE_SHARE_MIN = 0.1
"""A node takes no copies that would leave less of its disk free: its own program may need it."""


def token_of(ray_token: str) -> str:
    """The token of an attempt's copies."""
    return hmac.new(ray_token.encode(), b"godwit: copies of checkpoints", hashlib.sha256).hexdigest()


def port_of(command: StartAttempt) -> int:
    """The last of an attempt's five ports."""
    return command.port + 4


class Peer:
    """Another node of the gang: its copies as a place to restore from, and a place to send copies to."""

    def __init__(self, command: StartAttempt, rank: int) -> None:
        peer = next(one for one in command.peers if one.rank == rank)
        self.node_id = peer.node_id
        self._client = httpx.Client(
            base_url=f"http://{peer.address}:{port_of(command)}",
            headers={"Authorization": f"Bearer {token_of(command.ray_token)}"},
            timeout=httpx.Timeout(ANSWER_S, connect=2.0),
            trust_env=False,  # proxies are for the way out
        )

    def join(self, *parts: str) -> str:
        """The path of something among its copies."""
        return posixpath.join(*parts)

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in a folder."""
        return [str(name) for name in self._get(f"/names/{quote(folder)}").json()]

    def read_text(self, path: str) -> bytes:
        """A small file, whole."""
        return self._get(f"/files?path={quote(path, safe='')}").content

    def download(self, path: str, target: Path, expected: CheckpointFile) -> None:
        """Copy a file here; raises `CheckpointDamaged` unless it is what the manifest says."""
        target.parent.mkdir(parents=True, exist_ok=True)
        seen, size = hashlib.sha256(), 0
        try:
            with self._client.stream("GET", f"/files?path={quote(path, safe='')}") as answer, target.open("wb") as file:
                _check(answer, path)
                for block in answer.iter_bytes(BLOCK_BYTES):
                    seen.update(block)
                    size += len(block)
                    file.write(block)
        except httpx.HTTPError as exc:
            raise StoreUnavailable(f"node {self.node_id} does not answer: {type(exc).__name__}: {exc}") from exc
        if (size, seen.hexdigest()) != (expected.size_bytes, expected.sha256):
            raise CheckpointDamaged(f"{path} of node {self.node_id} is not what its manifest says")

    def start(self) -> str | None:
        """What rank 0 chose to start from: a manifest, or `{}` for nothing; None while it has not chosen.

        Raises `StoreUnavailable`.
        """
        answer = self._get("/start")
        return answer.text if answer.status_code == HTTPStatus.OK else None

    def offer(self, manifest: Manifest, own_rank: int) -> bool:
        """Have the node fetch a copy of this checkpoint from here; returns whether it lies there now."""
        body = {"manifest": commit.manifest_name(manifest.order), "rank": own_rank}
        timeout_s = COPY_S_MIN + manifest.size_bytes / COPY_BYTES_PER_S
        try:
            return self._client.post("/copies", json=body, timeout=timeout_s).status_code == HTTPStatus.CREATED
        except httpx.HTTPError as exc:
            log.info("a peer took no copy", node_id=self.node_id, reason=f"{type(exc).__name__}: {exc}")
            return False

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _get(self, path: str) -> httpx.Response:
        try:
            answer = self._client.get(path)
        except httpx.HTTPError as exc:
            raise StoreUnavailable(f"node {self.node_id} does not answer: {type(exc).__name__}: {exc}") from exc
        _check(answer, path)
        return answer


def _check(answer: httpx.Response, path: str) -> None:
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise CheckpointDamaged(f"{path} is missing")
    if not answer.is_success:
        raise StoreUnavailable(f"a peer answers {answer.status_code} to {path}")


def fetch_copy(peer: Peer, name: str, local: Store) -> commit.Order:
    """Copy a checkpoint from a peer into this node's copies: files first, verified, then the manifest.

    Raises `StoreUnavailable`, or `CheckpointDamaged` when what comes is not what its manifest says.
    """
    text = peer.read_text(posixpath.join("manifests", name))
    manifest = manifest_from_json(text)
    root = local.local_path(posixpath.join("data", name.removesuffix(".json")))
    shutil.rmtree(root, ignore_errors=True)
    disk = shutil.disk_usage(local.local_path(""))
    if disk.free - manifest.size_bytes < FREE_SHARE_MIN * disk.total:
        raise StoreUnavailable(f"{manifest.size_bytes} bytes would leave too little of this disk's {disk.free} free")
    for file in manifest.files:
        target = root / file.path
        if not target.resolve().is_relative_to(root.resolve()):
            raise CheckpointDamaged(f"the manifest names a path that leaves its folder: {file.path}")
        peer.download(posixpath.join(manifest.root, file.path), target, file)
    moved = {**json.loads(text), "root": root.as_uri()}
    local.write_text(posixpath.join("manifests", commit.manifest_name(manifest.order)), json.dumps(moved))
    return manifest.order


class Server:
    """Serves this node's copies to its gang. `fetch(name, rank)` brings a copy here from that rank."""

    def __init__(self, address: str, port: int, token: str, local: Store, fetch: Callable[[str, int], None]) -> None:
        self._fetch = fetch
        self._fetching = threading.Lock()
        self.token = token
        self.local = local
        self.chosen: bytes | None = None
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = ThreadingHTTPServer((address, port), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(LOOK_S,), name="copies", daemon=True).start()

    def choose(self, text: str) -> None:
        """Tell the others from now on what to start from: a manifest, or `{}` for nothing."""
        self.chosen = text.encode()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def take(self, name: str, rank: int) -> None:
        """Fetch a copy, one at a time: a disk has one speed."""
        with self._fetching:
            self._fetch(name, rank)


class _Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"
    timeout = ANSWER_S

    def log_message(self, *_args: Any) -> None:
        return

    def do_GET(self) -> None:
        if not self._may():
            return
        url, local = urlparse(self.path), self.server_of.local
        try:
            if url.path == "/start":
                chosen = self.server_of.chosen
                self._send(HTTPStatus.NO_CONTENT if chosen is None else HTTPStatus.OK, chosen or b"")
            elif url.path.startswith("/names/"):
                folder = self._inside(url.path.removeprefix("/names/"))
                names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
                self._send(HTTPStatus.OK, json.dumps(names).encode())
            elif url.path == "/files":
                with self._inside(parse_qs(url.query)["path"][0]).open("rb") as file:
                    self._send_file(file)
            else:
                self._send(HTTPStatus.NOT_FOUND)
        except (OSError, KeyError, ValueError):
            log.debug("a copy that a peer asked for is not there", path=self.path, folder=local.url)
            self._send(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        told = self.headers.get("Content-Length") or ""
        length = int(told) if told.isdecimal() and len(told) < 10 else 0
        self.close_connection = not 0 < length <= BODY_BYTES_MAX  # then a body may follow that nobody reads
        body = b"" if self.close_connection else self.rfile.read(length)
        if not self._may():
            return
        if self.path != "/copies" or not body:
            self._send(HTTPStatus.BAD_REQUEST)
            return
        try:
            asked = json.loads(body)
            name = str(asked["manifest"])
            if commit.order_of(name) is None:
                raise ValueError("that is no manifest's name")
            self.server_of.take(name, int(asked["rank"]))
        except (StoreUnavailable, CheckpointDamaged, OSError, ValueError, KeyError, TypeError, StopIteration) as exc:
            log.info("no copy taken for a peer", reason=str(exc))
            self._send(HTTPStatus.CONFLICT)
        else:
            self._send(HTTPStatus.CREATED)

    def _may(self) -> bool:
        told = self.headers.get("Authorization", "")
        if hmac.compare_digest(told.encode(), f"Bearer {self.server_of.token}".encode()):
            return True
        self._send(HTTPStatus.UNAUTHORIZED)
        return False

    def _inside(self, path: str) -> Path:
        root = self.server_of.local.local_path("").resolve()
        found = self.server_of.local.local_path(path).resolve()
        if not found.is_relative_to(root):
            raise ValueError(f"{path} is not among the copies")
        return found

    def _send(self, status: HTTPStatus, body: bytes = b"") -> None:
        body = b"" if status is HTTPStatus.NO_CONTENT else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, file: IO[bytes]) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        try:
            shutil.copyfileobj(file, self.wfile, BLOCK_BYTES)
        except OSError:
            self.close_connection = True  # the peer went away; it says so itself
