"""The `fleet:` section of config.yaml: read strictly, with every problem said at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire.specs import ResourcesSpec
from godwit.scheduler.bounds import Bounds, Warm
from godwit.scheduler.snapshot import Policy
from pydantic import ValidationError

MAX_FLEET_NODES = 100_000
"""The largest number of nodes that a bound may name; larger than any fleet, so that a slip of the finger is noticed."""

MAX_WARM_ASKS, MAX_WARM_NODES = 16, 256
"""The most entries of `warm`, and nodes in all: each plan matches them against the idle nodes."""

_KEYS = ("min_nodes", "max_nodes", "max_usd_per_hour", "idle_s", "warm")
_ASK_KEYS = ("gpus", "cpus", "memory", "memory_gib", "infra", "spot")
_EXAMPLE = "{gpus: H100:8, count: 1}"

Where = tuple[str | int, ...]


def bounded(policy: Policy, section: object, path: Path, *, is_idle_given: bool = False) -> Policy:
    """The policy with the bounds that `section` sets; None sets nothing.

    `is_idle_given` says that the idle time stands in the section `policy:` already. Raises `InvalidRequest` with one
    problem for each thing that is wrong.
    """
    if section is None:
        return policy
    found = _Section(section)
    if is_idle_given and found.idle_s is not None:
        found.wrong(("idle_s",), "is given, and policy.idle_after_s too: they are the same, so keep only this one")
    if found.problems:
        raise InvalidRequest(f"{path}: " + "; ".join(p.message for p in found.problems), found.problems)
    idle_after_s = policy.idle_after_s if found.idle_s is None else found.idle_s
    return replace(policy, bounds=found.bounds, idle_after_s=idle_after_s)


class _Section:
    """One section being read; `problems` collects what is wrong with it."""

    def __init__(self, section: object) -> None:
        self.problems: list[Problem] = []
        values = section if isinstance(section, Mapping) else {}
        if not isinstance(section, Mapping):
            self.wrong((), f"must hold keys and values, such as {{max_nodes: 16}}, not {section!r}")
        self._refuse_unknown(values, (), _KEYS)
        min_nodes = self._whole(values, ("min_nodes",), 0, MAX_FLEET_NODES)
        max_nodes = self._whole(values, ("max_nodes",), 0, MAX_FLEET_NODES)
        max_usd_per_hour = self._amount(values, ("max_usd_per_hour",))
        self.idle_s = self._amount(values, ("idle_s",))
        self.bounds = Bounds(min_nodes or 0, max_nodes, max_usd_per_hour, self._warm(values.get("warm")))
        self._refuse_contradictions()

    def wrong(self, where: Where, what: str, accepted: tuple[str, ...] = (), meant: str | None = None) -> None:
        """Add a problem; `where` lies within this section."""
        name = "fleet" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
        between = "" if what.startswith(":") else " "
        self.problems.append(Problem(("fleet", *where), f"{name}{between}{what}", accepted, meant))

    def _warm(self, entries: object) -> tuple[Warm, ...]:
        if entries is None:
            return ()
        if not isinstance(entries, Sequence) or isinstance(entries, str) or len(entries) > MAX_WARM_ASKS:
            self.wrong(("warm",), f"must be a list of at most {MAX_WARM_ASKS} entries such as {_EXAMPLE}")
            return ()
        found = tuple(warm for index, entry in enumerate(entries) if (warm := self._one_warm(index, entry)) is not None)
        total = sum(warm.count for warm in found)
        if total > MAX_WARM_NODES:
            self.wrong(("warm",), f"keeps {total} nodes ready; {MAX_WARM_NODES} is the most")
        return found

    def _one_warm(self, index: int, entry: object) -> Warm | None:
        where: Where = ("warm", index)
        if not isinstance(entry, Mapping) or "gpus" not in entry:
            self.wrong(where, f"must name gpus, such as {_EXAMPLE}, not {entry!r}")
            return None
        before = len(self.problems)
        self._refuse_unknown(entry, where, ("count", *_ASK_KEYS))
        count = self._whole(entry, (*where, "count"), 1, MAX_WARM_NODES)
        asked = {key: value for key, value in entry.items() if key in _ASK_KEYS}
        try:
            ask = ResourcesSpec.model_validate(asked).to_domain()
        except ValidationError as exc:
            # A value that may have several shapes is refused once for each; people wrote one.
            for key, message in {str(e["loc"][0]): str(e["msg"]) for e in reversed(exc.errors())}.items():
                self.wrong((*where, key), f"is {asked[key]!r}: {message}")
        except InvalidRequest as exc:
            problems = exc.problems or (Problem(("resources", "infra"), exc.message),)
            for problem in problems:
                self.wrong((*where, problem.path[-1]), f": {problem.message}", problem.accepted, problem.did_you_mean)
        return Warm(ask, 1 if count is None else count) if len(self.problems) == before else None

    def _refuse_contradictions(self) -> None:
        most, warm = self.bounds.max_nodes, sum(warm.count for warm in self.bounds.warm)
        if most is None:
            return
        if self.bounds.min_nodes > most:
            self.wrong(("min_nodes",), f"is {self.bounds.min_nodes}, more than fleet.max_nodes, which is {most}")
        if warm > most:
            self.wrong(("warm",), f"keeps {warm} nodes ready, more than fleet.max_nodes, which is {most}")

    def _whole(self, values: Mapping[Any, Any], where: Where, least: int, most: int) -> int | None:
        value = values.get(where[-1])
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(where, f"must be a whole number from {least} to {most}, not {value!r}")
            return None
        return value

    def _amount(self, values: Mapping[Any, Any], where: Where) -> float | None:
        value = values.get(where[-1])
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            self.wrong(where, f"must be a number that is not negative, not {value!r}")
            return None
        return float(value)

    def _refuse_unknown(self, values: Mapping[Any, Any], where: Where, accepted: tuple[str, ...]) -> None:
        for key in values:
            if key not in accepted:
                near = next(iter(get_close_matches(str(key), accepted, n=1)), None)
                what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(accepted)}")
                self.wrong((*where, str(key)), what, accepted, near)
