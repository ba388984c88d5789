"""What is wrong with the GPUs of a simulated machine: it is found at once, breaks programs, and ends by a repair."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from godwit.agents.effects import Check, Checked, Copied, Copy, Effect, Found, HealthEvent, Repair, Repaired
from godwit.domain.health import Grade, Remedy

REPAIR_S, CHECK_S = 4.0, 3.0
COPY_FAILS = 0.2
"""How often a copy of a checkpoint that is made ahead fails for good."""


@dataclass(frozen=True)
class Ill:
    """A fault of one GPU: how the driver calls it, what ends it (None: nothing), whether programs fail on it, when."""

    code: str
    ends_by: Remedy | None
    breaks_at: float | None


class Sickness:
    """The faults of one machine, and the orders about them that are under way."""

    def __init__(self, gpus: dict[int, str], rng: random.Random) -> None:
        self.ills: dict[int, Ill] = {}
        self._uuids = gpus
        self._rng = rng
        self._news: list[HealthEvent] = []
        self._owed: list[tuple[float, Effect]] = []

    def strike(self, code: str, ends_by: Remedy | None, breaks_at: float | None) -> int | None:
        """One GPU falls ill, if any is left that is well; its index."""
        well = [index for index in self._uuids if index not in self.ills]
        if not well:
            return None
        index = self._rng.choice(well)
        self.ills[index] = Ill(code, ends_by, breaks_at)
        self._news.append(
            Found("kernel-log", Grade.UNHEALTHY, f"{code} was seen", code, gpu=self._uuids[index], boot_id="boot")
        )
        return index

    def mention(self, code: str) -> None:
        """The driver says something of a GPU with which nothing is wrong: a program's mistake."""
        uuid = self._uuids[self._rng.choice(sorted(self._uuids))]
        self._news.append(Found("kernel-log", Grade.UNHEALTHY, f"{code} was seen", code, gpu=uuid, boot_id="boot"))

    def breaks(self, gpus: list[int], now: float) -> bool:
        """Whether a program on these GPUs fails now."""
        ills = (self.ills.get(index) for index in gpus)
        return any(ill is not None and ill.breaks_at is not None and now >= ill.breaks_at for ill in ills)

    def told(self, effect: Repair | Check | Copy, now: float) -> None:
        """The agent carries this out, once; it takes a while."""
        if all(effect != owed for _, owed in self._owed):
            self._owed.append((now + (REPAIR_S if isinstance(effect, Repair) else CHECK_S), effect))

    def events(self, now: float) -> Iterator[HealthEvent]:
        """What checks and repairs have to say by now."""
        news, self._news = self._news, []
        yield from news
        due = [effect for at, effect in self._owed if at <= now]
        self._owed = [(at, effect) for at, effect in self._owed if at > now]
        for effect in due:
            if isinstance(effect, Repair):
                self._repair(effect)
                yield Repaired(effect.command.intent_id, worked=True)
            elif isinstance(effect, Copy):
                worked = self._rng.random() > COPY_FAILS
                yield Copied(effect.command.intent_id, worked=worked, step=5 if worked else None, moved_bytes=1)
            elif isinstance(effect, Check):
                ill = [index for index in effect.command.gpus if index in self.ills]
                yield Checked(effect.command.intent_id, not ill, f"GPUs {ill} fail" if ill else "")

    def _repair(self, effect: Repair) -> None:
        remedy, uuids = effect.command.remedy, set(effect.command.gpus)
        for index, ill in list(self.ills.items()):
            is_reached = remedy is Remedy.REBOOT or self._uuids[index] in uuids
            if ill.ends_by is not None and is_reached and remedy.strength >= ill.ends_by.strength:
                del self.ills[index]
