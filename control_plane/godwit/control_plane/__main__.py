"""`python -m godwit.control_plane VERB --home DIR`: what the command line starts, stops, backs up and restores.

Each verb imports its own part: what only ends a process, or looks at a home, need not wait for all that serves.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from godwit.control_plane import log_lines
from godwit.domain.clock import SystemClock
from godwit.domain.errors import Conflict, GodwitError
from sqlalchemy.exc import OperationalError

_HOUR_S = 3600
CONFLICT = 5
"""The exit code where the state does not allow it: `godwit` has the same one, and adds nothing to what was said."""


def main() -> int:
    """Run one of the verbs; returns the exit code."""
    arguments = _parser().parse_args()
    log_lines.configure()
    signal.signal(signal.SIGTERM, _end_in_order)
    home: Path = arguments.home.absolute()
    try:
        _VERBS[arguments.verb](home, arguments)
    except GodwitError as error:
        sys.stderr.write(f"{error.message}\n")
        return CONFLICT if isinstance(error, Conflict) else 1
    except OperationalError as error:
        # What the driver says: the host, the user and why, and no password.
        said = " ".join(str(error.orig).split())
        sys.stderr.write(
            f"the database cannot be used: {said}\n"
            "it is the one under `database` in config.yaml, or in GODWIT_DATABASE_URL\n"
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m godwit.control_plane", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in _VERBS:
        of = verbs.add_parser(verb)
        of.add_argument("--home", type=Path, required=True, help="the folder that holds this control plane's state")
        if verb == "work":
            of.add_argument(
                "--concurrency", type=int, choices=range(1, 65), default=8, metavar="N", help="calls at once"
            )
            of.add_argument("--port", type=int, help="of /healthz and /metrics, on the address under `listen`")
        if verb in {"backup", "restore"}:
            of.add_argument("file", type=Path)
        if verb == "restore":
            of.add_argument("--end-orphans", action="store_true", help="end machines that were bought since, soon")
            of.add_argument("--over-newer", action="store_true", help="replace what is newer than the backup")
        if verb == "orphans":
            of.add_argument("--end", action="store_true", help="end them")
    return parser


def _serve(home: Path, _arguments: argparse.Namespace) -> None:
    from godwit.control_plane import embedded  # noqa: PLC0415 - FastAPI and all routes, which no other verb needs

    embedded.serve(home)


def _work(home: Path, arguments: argparse.Namespace) -> None:
    from godwit.control_plane import working  # noqa: PLC0415 - as above

    working.work(home, arguments.concurrency, arguments.port)


def _stop(home: Path, _arguments: argparse.Namespace) -> None:
    from godwit.control_plane import stopping  # noqa: PLC0415 - as above

    stopping.stop(home)


def _backup(home: Path, arguments: argparse.Namespace) -> None:
    from godwit.control_plane.backup import backing, opening  # noqa: PLC0415 - as above

    written = backing.backup(home, arguments.file.absolute(), SystemClock().now())
    size_mib = arguments.file.stat().st_size / 2**20
    rows = sum(written.rows.values())
    print(f"backed up {written.identity}: {rows} rows, {size_mib:.1f} MiB, in {arguments.file}")  # noqa: T201
    if opening.needs_a_key_besides(arguments.file):
        print("GODWIT_CREDENTIALS_KEY is not in it, and a restore needs both: keep them apart")  # noqa: T201
    print("it holds keys of this control plane: keep it where only you can read it")  # noqa: T201


def _restore(home: Path, arguments: argparse.Namespace) -> None:
    from godwit.control_plane.backup import restoring  # noqa: PLC0415 - as above

    wish = restoring.Wish(arguments.end_orphans, arguments.over_newer)
    done = restoring.restore(home, arguments.file.absolute(), SystemClock().now(), wish)
    age = _age(done.restored.restored_at - done.manifest.at)
    print(f"restored {done.manifest.identity} as of {age} ago into {home}")  # noqa: T201
    if done.kept is not None:
        print(f"what was there lies in {done.kept}")  # noqa: T201
    print("next:  start it again (godwit up, or systemctl start godwit and godwit-worker),")  # noqa: T201
    print("       then godwit events -f and godwit orphans")  # noqa: T201


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= _HOUR_S else f"{max(0.0, seconds) / 60:.0f} min"


def _orphans(home: Path, arguments: argparse.Namespace) -> None:
    from godwit.control_plane import orphaned  # noqa: PLC0415 - as above

    if arguments.end:
        orphaned.end(home, SystemClock().now())
    for line in orphaned.listed(home):
        print(line)  # noqa: T201


_VERBS = {
    "serve": _serve,
    "work": _work,
    "stop": _stop,
    "backup": _backup,
    "restore": _restore,
    "orphans": _orphans,
}


def _end_in_order(_number: int, _frame: FrameType | None) -> None:
    # The server raises a captured signal again once it is down; its default would end us before the loops are.
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
