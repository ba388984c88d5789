"""Whether this node can save running programs, tried and not believed: what is missing is told to the control plane."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from godwit.agents.runtime.process import criu

log = structlog.get_logger()

CHECK_S = 20.0
"""`criu check` takes a tenth of a second; an agent that comes up must not wait long for one that hangs."""

DRIVER_MIN = 570
"""NVIDIA's driver from which CRIU's CUDA plugin saves a program's GPU memory (criu.org/CUDA): its checkpoint API for
whole processes came with 550, what the plugin of CRIU 4 relies on with 570."""

PLUGIN_FOLDERS = ("/usr/lib/criu", "/usr/local/lib/criu", "/usr/lib/x86_64-linux-gnu/criu", "/usr/lib64/criu")


@dataclass(frozen=True)
class Abilities:
    """How to run CRIU here, and why programs cannot be saved, or those with GPUs; empty reasons where they can."""

    criu: tuple[str, ...] = ()
    no_saves: str = "not looked at"
    no_gpu_saves: str = "not looked at"


def command_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """CRIU's command line: GODWIT_CRIU, which may be a wrapper with arguments, or `criu` on PATH; empty for none."""
    if env.get("GODWIT_CRIU"):
        return tuple(shlex.split(env["GODWIT_CRIU"]))
    found = shutil.which("criu", path=env.get("PATH", os.defpath))
    return () if found is None else (found,)


def probe(env: Mapping[str, str], *, simulated: bool) -> Abilities:
    """Look once; takes a fifth of a second where CRIU is there. Simulated GPUs hold no memory that had to be saved."""
    command = command_of(env)
    no_saves = _why_not(command)
    no_gpu_saves = no_saves or ("" if simulated else _why_no_gpus(env))
    return Abilities(command, no_saves, no_gpu_saves)


def _why_not(command: tuple[str, ...]) -> str:
    if not command:
        return "there is no criu on its PATH, and GODWIT_CRIU names none"
    if os.geteuid() != 0:
        return "its agent does not run as root, as CRIU must"
    try:
        done = subprocess.run(criu.check(command), capture_output=True, timeout=CHECK_S, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"`criu check` could not be run: {exc}"[:500]
    if done.returncode != 0:
        return f"`criu check` says: {criu.said(done.stderr, done.stderr.strip()[-300:])}"
    return _why_no_room()


def _why_no_room() -> str:
    """A container may pass CRIU's check and still be refused namespaces of its own."""
    program = "from godwit.agents.runtime.process import rooms; from pathlib import Path; import tempfile; "
    program += "rooms.see_here(Path(tempfile.mkdtemp())); rooms.begin(); rooms.next_pid(rooms.FIRST_PID)"
    source = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[4])!r}); "
    argv = [sys.executable, "-I", "-S", "-c", source + program]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=CHECK_S, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"a room for a program could not be tried: {exc}"[:500]
    said = done.stderr.strip().splitlines()
    return (
        "" if done.returncode == 0 else f"no room can be made for a program: {said[-1] if said else 'no reason'}"[:500]
    )


def _why_no_gpus(env: Mapping[str, str]) -> str:
    if shutil.which("cuda-checkpoint", path=env.get("PATH", os.defpath)) is None:
        return "there is no cuda-checkpoint on its PATH"
    if not any((Path(folder) / "cuda_plugin.so").exists() for folder in PLUGIN_FOLDERS):
        return f"CRIU's cuda_plugin.so is in none of {', '.join(PLUGIN_FOLDERS)}"
    version = _driver_version()
    if version is None or version < DRIVER_MIN:
        return f"its NVIDIA driver is {version or 'not there'}; {DRIVER_MIN} or newer saves a program's GPU memory"
    return ""


def _driver_version() -> int | None:
    """The driver's major version, as NVML says it."""
    import pynvml  # noqa: PLC0415 - a node without GPUs never needs it

    try:
        pynvml.nvmlInit()
        try:
            return int(str(pynvml.nvmlSystemGetDriverVersion()).partition(".")[0])
        finally:
            pynvml.nvmlShutdown()
    except (pynvml.NVMLError, ValueError) as exc:
        log.info("no NVIDIA driver answers", reason=str(exc))
        return None
