"""YAML that people write for godwit: values and no more, so that no file can do harm by how it is written.

PyYAML's safe loader makes no objects, but lets a page of aliases stand for gigabytes ("billion laughs"), nests until
the stack ends, and of a key that is there twice keeps the last one, in silence. Job specifications are read with their
lines by the command line (`cli/yaml_source`), by the same rules.
"""

from collections.abc import Hashable
from typing import Any

import yaml

BYTES_MAX = 1 << 20
"""A configuration is a page or two; a megabyte is a wrong file."""

DEPTH_MAX = 32
"""Deeper than anything that is written for godwit, shallower than the interpreter's stack."""


class NotPlain(ValueError):
    """This is no YAML, or more than values; the message says where, and quotes nothing: it may be a secret."""


def load(text: str | bytes) -> Any:
    """What the text says; None for an empty one. Raises `NotPlain`."""
    if len(text) > BYTES_MAX:
        raise NotPlain(f"it is larger than {BYTES_MAX >> 20} MiB")
    try:
        reader = _Reader(text)
        try:
            return reader.get_single_data()
        finally:
            reader.dispose()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise NotPlain(f"{where}{exc.problem or exc.context or 'it cannot be read'}") from None
    except yaml.YAMLError as exc:
        raise NotPlain(f"it cannot be read ({type(exc).__name__})") from None
    except (ValueError, RecursionError, OverflowError) as exc:  # such as a number of a million digits
        raise NotPlain(f"it holds a value that cannot be read ({type(exc).__name__})") from None


class _Reader(yaml.SafeLoader):
    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the base class, without aliases and within a depth."""
        if self.check_event(yaml.AliasEvent):
            raise self._here("aliases (*name) are not accepted; write the value out")
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._here(f"it is nested deeper than {DEPTH_MAX} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As the base class, with each key once."""
        seen = set[Any]()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _at(key_node.start_mark, "a key must be one value")
            if key in seen:
                raise _at(key_node.start_mark, "a key is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def _here(self, problem: str) -> yaml.MarkedYAMLError:
        return _at(self.peek_event().start_mark, problem)  # type: ignore[no-untyped-call]


def _at(mark: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
