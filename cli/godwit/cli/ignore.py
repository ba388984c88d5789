"""Which files of a workdir stay behind: a small, plain part of gitignore's language, in `.godwitignore`.

    # a comment        data/     a folder, anywhere        *.ckpt    by name, anywhere
    /notes             only at the top                     runs/*.log   by path from the top
    !keep.ckpt         take back what a line above ignored

`**` and character classes beyond those of fnmatch are not supported; the last line that matches wins.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from godwit.cli.exits import ExitCode, Failure

FILE = ".godwitignore"
ALWAYS = (".git/", ".hg/", ".venv/", "venv/", "__pycache__/", "*.pyc", ".mypy_cache/", ".ruff_cache/", ".pytest_cache/")
"""Never wanted on a node: histories, caches, and environments made for another machine."""

LINES_MAX = 1_000


@dataclass(frozen=True)
class Pattern:
    """One line: `text` without its marks, and what the marks said."""

    text: str
    keep: bool
    folders_only: bool
    from_top: bool

    def matches(self, relative: str, is_folder: bool) -> bool:
        """Whether the line speaks of this entry; `relative` is its path from the workdir, with slashes."""
        if self.folders_only and not is_folder:
            return False
        if self.from_top:
            return fnmatchcase(relative, self.text) and relative.count("/") == self.text.count("/")
        return fnmatchcase(relative.rsplit("/", 1)[-1], self.text)


def patterns(workdir: Path) -> tuple[Pattern, ...]:
    """What is always ignored, then the lines of the workdir's own file; raises `Failure` when it cannot be read."""
    try:
        text = (workdir / FILE).read_text()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as exc:
        raise Failure(f"{workdir / FILE} cannot be read: {exc}", ExitCode.USAGE) from exc
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise Failure(f"{workdir / FILE} has {len(lines)} lines; at most {LINES_MAX} are read", ExitCode.USAGE)
    written = [line.strip() for line in (*ALWAYS, *lines)]
    return tuple(_pattern(line) for line in written if line and not line.startswith("#"))


def is_ignored(known: tuple[Pattern, ...], relative: str, is_folder: bool) -> bool:
    """Whether an entry stays behind. What lies in an ignored folder is never looked at."""
    matching = [pattern for pattern in known if pattern.matches(relative, is_folder)]
    return bool(matching) and not matching[-1].keep


def _pattern(line: str) -> Pattern:
    keep = line.startswith("!")
    text = line.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    return Pattern(text.lstrip("/"), keep, folders_only, from_top="/" in text)
