"""What a check may say: its rules, each with its threshold, grade, remedy and source; and the signs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from godwit.domain.health import Grade, Remedy

Clears = Literal["gone", "reset", "reboot", "person", "event"]
"""When a finding is over: once its sign is gone; once the GPU was reset; once the machine was booted; only by a
person; or at once, because it tells of something that happened and not of a state."""


@dataclass(frozen=True)
class Rule:
    """One thing that a check can find.

    `code` names it everywhere. `when` is its threshold in words. It is raised when `raise_at` of the last `window`
    samples show it, and over after `clear_after` samples in a row without it (`clears` "gone" only). `over` says when
    in words, for checks that do not poll.
    """

    code: str
    when: str
    grade: Grade
    remedy: Remedy
    source: str
    raise_at: int = 1
    window: int = 1
    clear_after: int = 3
    clears: Clears = "gone"
    over: str = ""


@dataclass(frozen=True)
class Sign:
    """A rule was met in one sample, by one GPU (its UUID) or by the node; `reason` says so with the numbers."""

    rule: Rule
    reason: str
    gpu: str | None = None
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """A check as the documentation shows it: its name, what it reads, and its rules."""

    name: str
    reads: str
    rules: tuple[Rule, ...]
