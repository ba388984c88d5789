"""Reverse proxies in Python from the package index, each in a virtual environment of its own.

Those that are found there and run as a plain reverse proxy. Not measured: proxy.py 2.4.10, which loses its kept
connections to replicas and answers 4 requests a second; pproxy and aiohttp-proxy, which are a tunnel and its client.
Run as a file by the environment's own Python: `python packages.py NAME PORT TARGET_PORT`.
"""

import importlib
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_S = 240.0


@dataclass(frozen=True)
class Package:
    """A proxy: what pip is asked for."""

    name: str
    needs: tuple[str, ...]


PACKAGES = (
    Package("asgiproxy", ("asgiproxy==0.2.0", "uvicorn[standard]>=0.38,<1")),
    Package("fastapi-proxy-lib", ("fastapi-proxy-lib[standard]==0.3.0", "uvicorn[standard]>=0.38,<1")),
    Package("mitmproxy", ("mitmproxy==11.0.2",)),
)


def installed(package: Package, folder: Path) -> tuple[Path | None, str]:
    """The Python of an environment with this package; None, and why, where it could not be had."""
    where = folder / f"venv-{package.name}"
    venv.create(where, with_pip=True)
    python = where / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *package.needs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return None, f"not installed within {INSTALL_S:.0f} s"
    return (
        (python, "") if done.returncode == 0 else (None, (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    )


def command_of(package: Package, python: Path) -> Sequence[str]:
    """What runs it; the ports of the proxy and of its target follow."""
    return [str(python), __file__, package.name]


def main(name: str, port: int, target_port: int) -> None:
    """Serve until told to stop."""
    target = f"http://127.0.0.1:{target_port}"
    if name == "mitmproxy":
        options = ["--mode", f"reverse:{target}", "--listen-host", "127.0.0.1", "-p", str(port), "-q"]
        importlib.import_module("mitmproxy.tools.main").mitmdump([*options, "--set", "flow_detail=0"])
        return
    if name == "asgiproxy":
        app, _context = importlib.import_module("asgiproxy.__main__").make_app(upstream_base_url=target)
    else:
        app = importlib.import_module("fastapi_proxy_lib.fastapi.app").reverse_http_app(base_url=f"{target}/")
    uvicorn = importlib.import_module("uvicorn")
    uvicorn.run(app, port=port, log_level="error", access_log=False, server_header=False, date_header=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
