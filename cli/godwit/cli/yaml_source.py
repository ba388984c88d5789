"""Reading YAML so that every key can be traced back to its line, and nothing in the file can do harm."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.plain_text import visible

SIZE_MAX_BYTES = 1 << 20
"""A job specification is a page of text; a megabyte is a wrong file."""

DEPTH_MAX = 32
"""Deeper than any specification is, shallower than the interpreter's stack."""

PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
"""What mappings and sequences are when nobody writes a tag (https://yaml.org/spec/1.2.2/#103-core-schema)."""

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """A YAML mapping and where each of its keys stands: `lines` maps a path of keys to a line, from 1."""

    label: str
    text_lines: tuple[str, ...]
    data: dict[str, Any]
    lines: dict[Path_, int]

    def line_of(self, path: Path_) -> int | None:
        """The line of `path`, or of the nearest thing around it that is in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def excerpt(self, line: int) -> str:
        """The line itself, numbered, cut to a terminal's width."""
        if line > len(self.text_lines):
            return ""
        return f"  {line:>4} | {visible(self.text_lines[line - 1].rstrip()[:100])}"


def read(path: Path, label: str) -> Source:
    """Read the file at `path`, called `label` in messages; raises `Failure` (usage) with the line of what is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _wrong(f"there is no file {label}; a command needs `--` before it: godwit run -- {label}") from None
    except OSError as exc:
        raise _wrong(f"{label} cannot be read: {exc.strerror}") from exc
    if len(raw) > SIZE_MAX_BYTES:
        raise _wrong(f"{label} is larger than {SIZE_MAX_BYTES >> 20} MiB; is it a job specification?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise _wrong(f"{label}:{line}: this is not UTF-8 text; is it a job specification?") from exc
    return parse(text, label)


def parse(text: str, label: str) -> Source:
    """Read YAML text; raises `Failure` (usage) with the line of what is wrong."""
    try:
        reader = _Reader(text, label)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise _wrong(f"{label}:{line}: the character U+{ord(text[exc.position]):04X} may not be in YAML") from exc
    try:
        root = reader.get_single_node()
        if root is None:
            raise _wrong(f"{label} is empty; it needs at least `name` and `run`")
        if not isinstance(root, yaml.MappingNode):
            raise reader.wrong(root, "a job specification is a mapping of keys, such as `name: train`")
        data = reader.value(root, ())
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        reason = " ".join(part for part in (exc.problem, exc.context) if part)
        raise reader.wrong_at(line, f"this is not YAML: {reason}") from exc
    except yaml.YAMLError as exc:
        raise _wrong(f"{label}: this is not YAML: {' '.join(str(exc).split())}") from exc
    finally:
        reader.dispose()
    return Source(label, tuple(text.splitlines()), data, reader.lines)


class _Reader(yaml.SafeLoader):
    """Composes nodes with their marks, then builds plain values; refuses what a specification never needs."""

    # Dates stay the text that they are written as: what `deadline: 2026-12-01T18:00:00Z` means is not YAML's to say.
    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class has it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, label: str) -> None:
        super().__init__(text)
        self.label = label
        self.text_lines = text.splitlines()
        self.lines: dict[Path_, int] = {}
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the base class, without aliases (they can make a small file huge) and within a depth."""
        if self.check_event(yaml.AliasEvent):
            raise self.wrong_at(self._line(), "aliases (*name) are not accepted; write the value out")
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self.wrong_at(self._line(), f"nested deeper than {DEPTH_MAX} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _line(self) -> int:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return int(mark.line) + 1

    def value(self, node: yaml.Node, path: Path_) -> Any:
        """The plain value of a node; remembers the line of every key and item below it."""
        if isinstance(node, yaml.CollectionNode) and node.tag not in PLAIN_TAGS:
            raise self.wrong(node, f"tags such as {node.tag} are not accepted")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._at(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return self.construct_object(node)
        except ValueError as exc:  # such as the number 0o9
            raise self.wrong(node, f"this value cannot be read: {exc}") from exc

    def _at(self, node: yaml.Node, path: Path_) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                hint = f'; write "{key_node.value}"' if isinstance(key, Hashable) and key is not None else ""
                raise self.wrong(key_node, f"a key must be text{hint}")
            if key in values:
                first = self.lines[(*path, key)]
                raise self.wrong(
                    key_node, f"{'.'.join(map(str, (*path, key)))} is given twice; it is also in line {first}"
                )
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*path, key))
        return values

    def wrong(self, node: yaml.Node, message: str) -> Failure:
        """A failure at the line of `node`."""
        return self.wrong_at(node.start_mark.line + 1, message)

    def wrong_at(self, line: int, message: str) -> Failure:
        """A failure at a line, with the line itself."""
        shown = self.text_lines[line - 1].rstrip()[:100] if line <= len(self.text_lines) else ""
        return _wrong(f"{self.label}:{line}: {message}\n  {line:>4} | {visible(shown)}")


def _wrong(message: str) -> Failure:
    return Failure(message, ExitCode.USAGE)
