"""How a process's metric is described: the one table from which it is exported and its documentation is made."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Described:
    """One metric as Prometheus shows it, named by its conventions: base units, and `_total` on what only grows.

    `labels` lead to a sentence each that says what bounds the number of its values.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
