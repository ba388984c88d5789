"""What was found and told: a finding is told once, again when it changes, and once more when it is over. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.agents.checks.rules import Clears, Rule, Sign
from godwit.agents.effects import Found
from godwit.domain.health import Grade

Key = tuple[str, str, str]
"""Check, code and GPU (empty: the node)."""


@dataclass
class _Case:
    """One rule on one subject: its last samples, and how many clean ones came in a row since it was told."""

    samples: deque[bool]
    clean: int = 0


@dataclass
class _Standing:
    """A finding that was told and is not over."""

    found: Found
    clears: Clears
    clear_after: int = 1


class Ledger:
    """The findings of one node. Not safe for use from several threads at once."""

    def __init__(self, boot_id: str, standing: Iterable[dict[str, Any]] = ()) -> None:
        """`standing`: what `to_list` gave before a restart. What an earlier boot ended is told by `booted`."""
        self._boot_id = boot_id
        self._cases: dict[Key, _Case] = {}
        self._standing = {_key(entry.found): entry for entry in map(_from_dict, standing)}

    def sample(self, check: str, gpu: str | None, rules: Sequence[Rule], signs: Sequence[Sign]) -> list[Found]:
        """Take one sample of a check on one GPU, or on the node (None): what is now to be told."""
        seen = {sign.rule.code: sign for sign in signs}
        told = [self._sample_rule((check, rule.code, gpu or ""), rule, seen.get(rule.code)) for rule in rules]
        return [found for found in told if found is not None]

    def happened(self, found: Found, clears: Clears) -> Found:
        """Note something that a line said, and that is told each time; what it left behind stands until it clears."""
        found = self._stamped(found)
        if clears != "event":
            self._standing[_key(found)] = _Standing(found, clears)
        return found

    def was_reset(self, gpus: Collection[str]) -> list[Found]:
        """These GPUs were reset: what a reset ends is over; the rest needs one clean sample, not several."""
        mine = [key for key in self._standing if key[2] in gpus]
        for key in mine:
            if (case := self._cases.get(key)) is not None:
                case.clean = max(case.clean, self._standing[key].clear_after - 1)
        return self._end([key for key in mine if self._standing[key].clears == "reset"], "the GPU was reset")

    def booted(self) -> list[Found]:
        """What stands from an earlier boot, and ended with it."""
        old = [key for key, entry in self._standing.items() if entry.found.boot_id != self._boot_id]
        for key in old:
            entry = self._standing[key]
            self._cases.setdefault(key, _Case(deque(maxlen=1))).clean = entry.clear_after - 1
        over = [key for key in old if self._standing[key].clears in ("reset", "reboot")]
        return self._end(over, "the machine was booted")

    def standing(self, gpus: Collection[str] | None = None) -> list[Found]:
        """What was told and is not over; of these GPUs and of the node, or of all."""
        return [
            entry.found for entry in self._standing.values() if gpus is None or (entry.found.gpu or "") in {*gpus, ""}
        ]

    def to_list(self) -> list[dict[str, Any]]:
        """What stands, for `standing` of the next ledger."""
        return [
            {**vars(entry.found), "evidence": {}, "clears": entry.clears, "clear_after": entry.clear_after}
            for entry in self._standing.values()
        ]

    def _sample_rule(self, key: Key, rule: Rule, sign: Sign | None) -> Found | None:
        case = self._cases.get(key)
        if case is None:
            if sign is None and key not in self._standing:
                return None  # nothing to remember of what was never seen
            case = self._cases[key] = _Case(deque(maxlen=rule.window))
        case.samples.append(sign is not None)
        if key in self._standing:
            case.clean = 0 if sign is not None else case.clean + 1
            is_over = rule.clears == "gone" and case.clean >= rule.clear_after
            return self._end([key], "it was not seen again")[0] if is_over else None
        if sign is None or sum(case.samples) < rule.raise_at:
            if not any(case.samples):
                del self._cases[key]
            return None
        found = Found(
            key[0], rule.grade, sign.reason, rule.code, rule.remedy, sign.gpu, None, self._boot_id, dict(sign.evidence)
        )
        case.clean = 0
        self._standing[key] = _Standing(found, rule.clears, rule.clear_after)
        return found

    def _end(self, keys: Iterable[Key], why: str) -> list[Found]:
        over = []
        for key in keys:
            old = self._standing.pop(key).found
            self._cases.pop(key, None)
            reason = f"over: {why} ({old.reason})"
            over.append(Found(old.check, Grade.HEALTHY, reason, old.code, gpu=old.gpu, boot_id=self._boot_id))
        return over

    def _stamped(self, found: Found) -> Found:
        return Found(**{**vars(found), "boot_id": self._boot_id})


def _key(found: Found) -> Key:
    return found.check, found.code, found.gpu or ""


def _from_dict(entry: dict[str, Any]) -> _Standing:
    fields = dict(entry)
    clears, clear_after = fields.pop("clears"), int(fields.pop("clear_after"))
    return _Standing(Found(**{**fields, "grade": Grade(fields["grade"])}), clears, clear_after)
