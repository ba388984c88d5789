"""Whether what godwit stands on has known holes: `python -m deploy.supply.audit`, as `make audit` runs it.

Asks pip-audit about the installed packages, and npm about the dashboard's. Both ask databases on the network; where one
cannot be asked, that is said ("NOT CHECKED") and fails nothing: a hole that nobody looked for is no finding.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[2] / "control_plane" / "dashboard"
PATIENCE_S = 300.0
"""A database that has not answered by then is not to be asked from here."""

GRAVE = ("high", "critical")
"""What of npm's levels fails: the rest is nearly always of tools that build the dashboard and see nobody's input."""


@dataclass(frozen=True)
class Verdict:
    """What one source says. `holes` are the findings that fail; `not_checked` is why nobody was asked, or empty.

    `left_out` is how many packages the source does not know, beside those that it does.
    """

    source: str
    holes: tuple[str, ...] = ()
    not_checked: str = ""
    left_out: int = 0


@dataclass(frozen=True)
class Said:
    """What a program printed."""

    out: str
    err: str


Run = Callable[[Sequence[str], Path], Said]
"""(argv, folder) -> what it printed. Raises `OSError`, `subprocess.SubprocessError`."""


def python_packages(run: Run) -> Verdict:
    """Holes in the packages of this environment, by pip-audit; godwit itself is in no database."""
    argv = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format=json", "--progress-spinner=off"]
    return _asked("Python packages", run, argv, Path.cwd(), _of_pip_audit)


_NOT_WHY = "A complete log of this run"
"""npm's last line points at a file; why it could not ask stands before."""


def dashboard_packages(run: Run, folder: Path = DASHBOARD) -> Verdict:
    """Holes in the packages of the dashboard, by npm."""
    return _asked("dashboard", run, ["npm", "audit", "--json", "--package-lock-only"], folder, _of_npm)


def _asked(source: str, run: Run, argv: Sequence[str], folder: Path, read: Callable[[str, Any], Verdict]) -> Verdict:
    try:
        said = run(argv, folder)
    except (OSError, subprocess.SubprocessError) as exc:
        return Verdict(source, not_checked=f"{argv[0]} cannot be run ({type(exc).__name__})")
    try:
        return read(source, json.loads(said.out))
    except (ValueError, KeyError, TypeError, AttributeError):
        lines = [line.strip() for line in said.err.splitlines() if line.strip() and _NOT_WHY not in line]
        return Verdict(source, not_checked=(lines or ["it printed nothing that can be read"])[-1][:300])


def _of_pip_audit(source: str, told: Any) -> Verdict:
    """Of a package that the database does not know there is a `skip_reason`, and pip-audit still calls it a success."""
    packages = told["dependencies"]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        why = skipped[0] if skipped else "there is none here"
        return Verdict(source, not_checked=f"none of {len(packages)} packages was found in the database ({why})")
    holes = tuple(
        f"{package['name']} {package['version']}: {hole['id']}, {_mended_in(hole['fix_versions'])}"
        for package in packages
        for hole in package.get("vulns", ())
    )
    return Verdict(source, holes, left_out=len(skipped))


def _mended_in(versions: Sequence[str]) -> str:
    return f"mended in {', '.join(versions)}" if versions else "not mended yet"


def _of_npm(source: str, told: Any) -> Verdict:
    # Where the database cannot be asked, there is an `error` in place of these.
    found = told["vulnerabilities"].items()
    return Verdict(source, tuple(f"{name}: {one['severity']}" for name, one in found if one["severity"] in GRAVE))


def report(verdicts: Sequence[Verdict]) -> tuple[str, int]:
    """What to print, and the exit code: 1 for a hole, 0 otherwise."""
    lines = []
    for one in verdicts:
        state = f"NOT CHECKED: {one.not_checked}" if one.not_checked else f"{len(one.holes) or 'no'} known holes"
        state += f"; {one.left_out} packages are NOT CHECKED: the database does not know them" if one.left_out else ""
        lines += [f"{one.source}: {state}", *(f"  {hole}" for hole in one.holes)]
    if any(one.not_checked for one in verdicts):
        lines.append("This says nothing of what was not checked: run it again where the databases can be reached.")
    return "\n".join(lines), int(any(one.holes for one in verdicts))


def _run(argv: Sequence[str], folder: Path) -> Said:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return Said(done.stdout, done.stderr)


def main() -> int:
    """Ask both, and say what they say."""
    text, code = report([python_packages(_run), dashboard_packages(_run)])
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
