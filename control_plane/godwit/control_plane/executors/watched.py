"""What a worker shows of itself over HTTP: /healthz, and /metrics where the settings open them."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from godwit.control_plane.metrics.reading import CONTENT_TYPE, Exposition
from godwit.domain.errors import Conflict

OK, UNWELL, CLOSED, UNKNOWN = 200, 503, 403, 404
ASK_S = 10.0
"""Who does not say what they want for so long is cut off."""


class Watched:
    """A small server in a thread; none without a `port`."""

    def __init__(self, listen: str, port: int | None, exposition: Exposition, is_well: Callable[[], bool]) -> None:
        self._at, self._exposition, self._is_well = (listen, port), exposition, is_well
        self._server: ThreadingHTTPServer | None = None

    def start(self, *, shows_metrics: bool) -> None:
        """Begin to listen. Raises `Conflict` when the port is in use."""
        listen, port = self._at
        if port is None:
            return
        answers = self._answers(shows_metrics)

        class Handler(BaseHTTPRequestHandler):
            timeout = ASK_S

            def do_GET(self) -> None:
                code, kind, body = answers(self.path)
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Nothing: probes come every few seconds."""

        try:
            self._server = ThreadingHTTPServer((listen, port), Handler)
        except OSError as exc:
            raise Conflict(f"port {port} of {listen} is in use by another program; give --port another") from exc
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="watched", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "it does not listen"
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _answers(self, shows_metrics: bool) -> Callable[[str], tuple[int, str, bytes]]:
        def answer(path: str) -> tuple[int, str, bytes]:
            if path == "/healthz":
                return (OK, "text/plain", b"well\n") if self._is_well() else (UNWELL, "text/plain", b"not well\n")
            if path == "/metrics" and shows_metrics:
                return OK, CONTENT_TYPE, self._exposition.text()
            if path == "/metrics":
                return CLOSED, "text/plain", b"set `metrics: {open: true}` in config.yaml to show them here\n"
            return UNKNOWN, "text/plain", b"there are /healthz and /metrics\n"

        return answer
