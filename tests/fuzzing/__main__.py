"""`python -m tests.fuzzing TARGET SECONDS`: Atheris (libFuzzer for Python) on one target, guided by coverage.

Starts from `cases/TARGET` and the seeds below; what it finds is written to the folder that it was started in as
crash-<hash>, slow-<hash>: mend what it shows, and keep the file among the cases.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("there is no Atheris here: `make fuzz` installs it where it has a wheel (CPython 3.11 to 3.13)")

with atheris.instrument_imports(include=["godwit", "yaml"], enable_loader_override=False):
    from tests.fuzzing.targets import CASES, TARGETS

ROOT = Path(__file__).parents[2]
SEEDS: Mapping[str, Sequence[str]] = {
    "specification": ("examples/**/*.yaml", "tests/**/*.yaml"),
    "kernel_log": ("tests/agents/checks/test_kernel_*.py",),
    "archive": (),
    "manifest": (),
}
"""Files of this repository to begin with, beside the cases."""

BYTES_MAX, ONE_S, MEMORY_MIB = 65_536, 10, 2_048
"""Of an input; and what it may take of time and memory before it counts as a finding."""


def seeded(name: str, folder: Path) -> None:
    """Copy the seeds of a target into the folder from which it starts."""
    found = [*(CASES / name).glob("*"), *(path for glob in SEEDS[name] for path in ROOT.glob(glob))]
    for number, path in enumerate(path for path in found if path.is_file()):
        (folder / f"seed-{number}").write_bytes(path.read_bytes()[:BYTES_MAX])
    if name == "kernel_log":
        lines = b"\n".join(path.read_bytes() for path in found).split(b'"')
        for number, line in enumerate(line for line in lines if b": " in line):
            (folder / f"line-{number}").write_bytes(b"6,1,1,-;" + line)


def main(arguments: Sequence[str]) -> int:
    """Fuzz until the time is over; the process ends with libFuzzer's exit code."""
    if len(arguments) != 2 or arguments[0] not in TARGETS or not arguments[1].isdecimal():
        print(f"usage: python -m tests.fuzzing {'|'.join(TARGETS)} SECONDS", file=sys.stderr)
        return 2
    name, seconds = arguments
    folder = Path(tempfile.mkdtemp(prefix="godwit-fuzz-"))
    seeded(name, folder)
    bounds = [f"-max_total_time={seconds}", f"-timeout={ONE_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={BYTES_MAX}"]
    atheris.Setup([sys.argv[0], *bounds, "-print_final_stats=1", str(folder)], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
