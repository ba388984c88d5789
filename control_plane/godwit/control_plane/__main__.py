"""`python -m godwit.control_plane serve|stop --home DIR`: what the command line starts and stops."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from godwit.control_plane import embedded, stopping
from godwit.domain.errors import GodwitError


def main() -> int:
    """Run one of the two verbs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m godwit.control_plane", description=__doc__)
    parser.add_argument("verb", choices=["serve", "stop"])
    parser.add_argument("--home", type=Path, required=True, help="the folder that holds this control plane's state")
    arguments = parser.parse_args()
    embedded.configure_log()
    signal.signal(signal.SIGTERM, _end_in_order)
    try:
        if arguments.verb == "serve":
            embedded.serve(arguments.home.absolute())
        else:
            stopping.stop(arguments.home.absolute())
    except GodwitError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_in_order(_number: int, _frame: FrameType | None) -> None:
    # The server raises a captured signal again once it is down; its default would end us before the loops are.
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
