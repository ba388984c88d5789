"""What is left to buy, and what is left on nodes that are on their way for somebody."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from godwit.domain.offers import Offer
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.bounds import Room
from godwit.scheduler.reasons import Refusal


class Stock:
    """What is left of each offer's capacity, and of the fleet's maximum, while one plan is made."""

    def __init__(self, room: Room | None = None) -> None:
        self._taken: Counter[str] = Counter()
        self.room = room or Room()

    def left(self, offer: Offer) -> int:
        """Instances of `offer` that may still be bought; a provider that does not say is taken to have plenty."""
        return 1_000_000 if offer.capacity is None else max(0, offer.capacity - self._taken[offer.key])

    def take(self, offers: Sequence[Offer]) -> None:
        """Book the capacity of bought offers."""
        self._taken.update(offer.key for offer in offers)
        self.room.take(offers)


@dataclass(slots=True)
class Spare:
    """What is left of one node; `refusal` is what a job is told that waits for it.

    `gpus` are thousandths of each device, ascending: a share lies on one device, so what two have left does not add up.
    """

    kind: NodeKind
    gpus: tuple[int, ...]
    cpu_milli: int
    memory_mib: int
    refusal: Refusal
    tenant: str = ""

    @classmethod
    def all_of(cls, kind: NodeKind, refusal: Refusal, tenant: str = "") -> "Spare":
        """A whole node, which comes for a tenant."""
        return cls(kind, (WHOLE,) * kind.gpus, kind.cpu_milli, kind.memory_mib, refusal, tenant)

    def left_by(self, ask: Ask) -> tuple[int, int, int] | None:
        """What would be left of GPUs, CPUs and memory beside `ask`; None when it does not fit."""
        cpus, memory = self.cpu_milli - ask.cpu_milli, self.memory_mib - ask.memory_mib
        if cpus < 0 or memory < 0 or ask.tenant != self.tenant:
            return None
        if self._first(ask) is None or not ask.suits(self.kind):
            return None
        return (sum(self.gpus) - ask.total_milli, cpus, memory)

    def take(self, ask: Ask) -> bool:
        """Book `ask` here, if it fits: on the devices of which least is left."""
        left, first = self.left_by(ask), self._first(ask)
        if left is None or first is None:
            return False
        behind = first + ask.gpus
        taken = (milli - ask.gpu_milli for milli in self.gpus[first:behind])
        self.gpus = tuple(sorted((*self.gpus[:first], *taken, *self.gpus[behind:])))
        _, self.cpu_milli, self.memory_mib = left
        return True

    def _first(self, ask: Ask) -> int | None:
        """The first of the devices that it would take; those that it takes stand beside each other."""
        first = bisect_left(self.gpus, ask.gpu_milli)
        return first if first + ask.gpus <= len(self.gpus) else None


class Spares:
    """What is left of several nodes. Whoever comes gets the one of which least is left then, so that the order in which
    they are counted decides little.
    """

    def __init__(self, spares: Iterable[Spare] = ()) -> None:
        self._spares = list(spares)

    def add(self, spare: Spare) -> None:
        """One more."""
        self._spares.append(spare)

    def copy(self) -> "Spares":
        """The same, to try something on."""
        return Spares(replace(spare) for spare in self._spares)

    def take(self, ask: Ask) -> Spare | None:
        """Book `ask` where it leaves least, if it fits anywhere."""
        fitting = ((left, spare) for spare in self._spares if (left := spare.left_by(ask)) is not None)
        best = min(fitting, key=lambda one: (one[0], one[1].refusal.subject), default=None)
        if best is None:
            return None
        best[1].take(ask)
        return best[1]
