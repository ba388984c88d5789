"""What read commands print: a table for people that fits the terminal, or JSON or YAML for programs."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, TextIO

import typer
from godwit.domain import plain_text
from pydantic import BaseModel

WIDTH_MIN = 40
GAP = 2
YIELDING_MIN = 8
"""A name cut further than this says nothing; then the lines get longer than the terminal."""

STATE_STYLES = {
    "running": "green", "ready": "green", "succeeded": "green", "failed": "red", "lost": "red",
    "recovering": "yellow", "queued": "yellow", "starting": "cyan", "cancelled": "dim", "terminated": "dim",
}  # fmt: skip


class Format(StrEnum):
    """How a read command prints."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("-o", "--output", help="How to print.")]


@dataclass(frozen=True)
class Column:
    """A column of a table. A `whole` one (an id to be copied, a figure) is never cut; the others give way."""

    title: str
    whole: bool = True
    right: bool = False


def show(value: BaseModel | Sequence[BaseModel], form: Format) -> None:
    """Print messages for a program, as JSON or YAML."""
    data: Any = value.model_dump(mode="json") if isinstance(value, BaseModel) else [_plain(item) for item in value]
    if form is Format.JSON:
        print(json.dumps(data, indent=2))
        return
    import yaml  # noqa: PLC0415 - 20 ms that only this branch needs

    print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], empty: str, width: int | None = None) -> None:
    """Print a table no wider than the terminal (80 when there is none); `empty` is said when it has no rows."""
    if not rows:
        print(empty)
        return
    from rich.console import Console  # noqa: PLC0415 - 40 ms that JSON output need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    room = width or terminal_width()
    rows = [[plain_text.visible(cell, one_line=True) for cell in row] for row in rows]
    widths = fitting(columns, rows, room)
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column, column_width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        grid.add_column(column.title, no_wrap=True, overflow="ellipsis", justify=justify, width=column_width)
    for row in rows:
        grid.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    needed = sum(widths) + GAP * len(widths)
    console = Console(width=max(room, needed), highlight=False)
    with console.capture() as captured:
        console.print(grid)
    # Rich fills lines up with blanks, which are a nuisance to whoever copies or compares them.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The width of each column, so that the table fits `room`: the widest of those that give way gives way first.

    Rich would cut ids and figures as well.
    """
    widths = [max(len(column.title), *(len(row[at]) for row in rows)) for at, column in enumerate(columns)]
    yielding = [at for at, column in enumerate(columns) if not column.whole]
    excess = sum(widths) + GAP * (len(widths) - 1) - room
    for _ in range(max(0, excess)):
        widest = max(yielding, key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= YIELDING_MIN:
            break
        widths[widest] -= 1
    return widths


def terminal_width() -> int:
    """Columns of the terminal; 80 when output goes elsewhere, unless COLUMNS says otherwise."""
    return max(WIDTH_MIN, shutil.get_terminal_size((80, 24)).columns)


class JobOutput:
    """A job's own output on its way out: as it is into files and pipes, without what steers a terminal onto one."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._tamed = plain_text.Output() if to.isatty() else None

    def write(self, text: str) -> None:
        """Show what came."""
        self._to.write(text if self._tamed is None else self._tamed.pass_on(text))
        self._to.flush()

    def end(self) -> None:
        """Nothing more comes."""
        if self._tamed is not None:
            self._to.write(self._tamed.rest())


def note(text: str) -> None:
    """Say something of godwit's own: to stderr, so that stdout holds only what was asked for."""
    print(text, file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """Whether a person watches stdout and stderr on a terminal that understands control codes."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _plain(item: BaseModel) -> Any:
    return item.model_dump(mode="json")
