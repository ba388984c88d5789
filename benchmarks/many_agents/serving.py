"""`python -m benchmarks.many_agents.serving HOME`: the control plane as it is, with one more kind of provider."""

import signal
import sys
from pathlib import Path
from types import FrameType

from godwit.control_plane import embedded, log_lines
from godwit.control_plane.api.hearing import Hearing
from godwit.providers import registry
from starlette.types import Receive, Scope, Send

from benchmarks.many_agents import paper


def main(folder: Path, *, plain: bool) -> None:
    """Serve until told to end; `plain`: each request of an agent by its route."""
    if plain:
        Hearing.__call__ = _passing_by  # type: ignore[method-assign, assignment]
        Hearing.ask = _by_route  # type: ignore[method-assign, assignment]
    registry.KINDS = {**registry.KINDS, "paper": paper.KIND}
    log_lines.configure()
    signal.signal(signal.SIGTERM, _end_in_order)
    embedded.serve(folder)


async def _passing_by(hearing: Hearing, scope: Scope, receive: Receive, send: Send) -> None:
    await hearing._app(scope, receive, send)


def _by_route(_hearing: Hearing, _scope: object, _body: bytes) -> None:
    return None


def _end_in_order(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), plain="--plain" in sys.argv[2:])
