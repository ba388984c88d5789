"""Every `godwit` command that a page quotes is one that the command line takes: pages are followed by hand."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer
from godwit.cli.main import app

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^    (?:.* -- )?(?:GODWIT_\w+=\S+ )*(?:/\S+/)?godwit (.*)$", re.MULTILINE)
PAST = ("docs/decisions/", "newsfragments/")
"""What was decided or new at its time, and is not followed by hand."""
INLINE = re.compile(r"`godwit ((?!COMMAND)[^`]+)`")


def _pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split() if not name.startswith(PAST)]


def _quoted(page: Path) -> Iterator[tuple[str, bool]]:
    """Each command without its first word, and whether it stands on a line of its own, to be typed as it is."""
    text = page.read_text().replace("\\\n", " ")
    yield from ((found[1], True) for found in LINE.finditer(text))
    yield from ((found[1], False) for found in INLINE.finditer(text))


def _words(quoted: str) -> list[str]:
    """The words as a shell would give them: up to the next command or redirection, without a comment."""
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "made-by-the-shell", quoted), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = takewhile(lambda word: word[0] not in "|&;<>()", lexer)
    return [word for word in words if not re.fullmatch(r"\[.*\]|\.\.\.", word)]


def fault(words: list[str], *, whole: bool) -> str | None:
    """What the command line would refuse; of one that is not whole, missing arguments are none."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    name = "godwit"
    while True:
        try:
            context = command.make_context(name, list(words), parent=context)
            words = [*context._protected_args, *context.args]
            if not hasattr(command, "resolve_command") or not words:
                return None
            name, command, words = command.resolve_command(context, words)
        except Exception as exc:  # noqa: BLE001 - each refusal is what is asked for, by the name of its class
            kind = type(exc).__name__
            harmless = {"Exit"} if whole else {"Exit", "NoArgsIsHelpError", "MissingParameter", "BadOptionUsage"}
            return None if kind in harmless else f"{kind}: {exc}"


@pytest.mark.parametrize(
    ("quoted", "whole", "refused"),
    [
        ("nodes drain NODE", True, None),
        ("nodes drain", False, None),
        ("nodes drain", True, "MissingParameter"),
        ("nodes drian NODE", True, "UsageError"),
        ("incidents ID --evidence case.json", True, None),
        ("ps --al", True, "NoSuchOption"),
        ("backup f; godwit down", True, None),
        ("exec box -- tar c src | tar x", True, None),
        ("run -- echo hello   # a job needs no file", True, None),
    ],
)
def test_a_wrong_command_is_found(quoted: str, whole: bool, refused: str | None) -> None:
    found = fault(_words(quoted), whole=whole)
    assert (found or "").partition(":")[0] == (refused or "")


def test_every_command_that_a_page_quotes_is_taken_by_the_command_line() -> None:
    pages, seen, refused = _pages(), 0, []
    for page in pages:
        for quoted, whole in _quoted(page):
            seen += 1
            found = fault(_words(quoted), whole=whole)
            refused += [f"{page.relative_to(ROOT)}: godwit {quoted}: {found}"] if found else []
    assert refused == []
    assert seen > 150, "pages are read at all"
