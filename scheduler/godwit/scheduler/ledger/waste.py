"""What was paid for and did no work, and what would have avoided it, in words with the figures of the policy."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from godwit.scheduler.ledger.uses import How, Use

SHOWN = 12
"""Rows of waste that are told one by one; the rest of a kind is one row."""


@dataclass(frozen=True)
class Spent:
    """What some seconds cost: their reason, its kind, where (provider) and for whom (job's name) they were."""

    use: Use
    how: How
    provider: str
    job: str
    gpu_s: float
    usd: float


@dataclass(frozen=True)
class Waste:
    """Money that bought no work. `subject` is the provider or the job that it went to."""

    kind: str
    subject: str
    usd: float
    gpu_s: float
    message: str
    would_avoid: str


@dataclass(frozen=True)
class Habits:
    """What of the policy decides about waste: how long a node may idle, and how many are kept whatever happens."""

    idle_after_s: float
    kept_nodes: int = 0


Told = Callable[[Spent, Habits], tuple[str, str, str, str]]
"""Kind, subject, what it was, what would have avoided it."""


def lost(spent: Iterable[Spent], habits: Habits) -> list[Waste]:
    """What was lost, the dearest first; each dollar is in one row. Starting and draining count as the price of work."""
    sums: dict[tuple[str, str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in spent:
        tell = _WORDS.get((one.use, one.how)) or _WORDS.get((one.use, None))
        if tell is not None and (one.usd > 0 or one.gpu_s > 0):
            of = sums[tell(one, habits)]
            of[0] += one.usd
            of[1] += one.gpu_s
    found = [
        Waste(kind, subject, usd, gpu_s, what, avoid) for (kind, subject, what, avoid), (usd, gpu_s) in sums.items()
    ]
    found.sort(key=lambda row: (-row.usd, -row.gpu_s, row.kind, row.subject))
    return found[:SHOWN] + _others(found[SHOWN:])


def _others(rest: Iterable[Waste]) -> list[Waste]:
    by_kind: dict[str, list[Waste]] = defaultdict(list)
    for row in rest:
        by_kind[row.kind].append(row)
    return [
        Waste(
            kind,
            "others",
            sum(r.usd for r in rows),
            sum(r.gpu_s for r in rows),
            f"{len(rows)} more",
            rows[0].would_avoid,
        )
        for kind, rows in by_kind.items()
    ]


def _idle(of: Spent, habits: Habits) -> tuple[str, str, str, str]:
    kept = f", and fewer than {habits.kept_nodes} nodes kept whatever happens" if habits.kept_nodes else ""
    avoid = f"giving nodes back sooner than after {habits.idle_after_s:g} s without work (fleet.idle_s){kept}"
    return "idle", of.provider, "whole nodes that nobody used", avoid


def _beside(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "jobs packed on fewer nodes (scheduling.migration: on), or asked for in sizes that fill one"
    return "fragmentation", of.provider, "GPUs that nobody used beside GPUs that somebody did", avoid


def _unheard(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "offers that are trusted more: `godwit offers` shows the share of what is paid that becomes work"
    return "broken", of.provider, "nodes that were not heard any more, until they were given back", avoid


def _unfit(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "giving such nodes back instead of repairing them (`godwit incidents`), or another provider"
    return "broken", of.provider, "GPUs that health took out, while their nodes were kept", avoid


def _orphan(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "a provider that answers launches in time, or takes client tokens"
    return "broken", of.provider, "machines of launches without an answer, until they were found and ended", avoid


def _recovering(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "on-demand nodes (spot: never), or spare ones (health.spares)"
    return "recovering", of.job or of.provider, "standing still between a loss and being at work again", avoid


def _waiting(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    avoid = "a gang of fewer nodes, or an offer whose nodes come up together"
    return "waiting", of.job or of.provider, "nodes that waited for the rest of their gang", avoid


def _cordoned(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    return "held", of.provider, "cordoned nodes", "`godwit nodes uncordon`, or `drain` for what is not needed"


def _unused(of: Spent, _habits: Habits) -> tuple[str, str, str, str]:
    return "held", of.job, "an environment that nobody used", "a shorter idle_after in its specification"


_WORDS: Mapping[tuple[Use, How | None], Told] = {
    (Use.IDLE, How.PLAIN): _idle,
    (Use.IDLE, How.BESIDE): _beside,
    (Use.BROKEN, How.LOST): _unheard,
    (Use.BROKEN, How.UNFIT): _unfit,
    (Use.BROKEN, How.ORPHAN): _orphan,
    (Use.RECOVERING, None): _recovering,
    (Use.WAITING, None): _waiting,
    (Use.HELD, How.CORDONED): _cordoned,
    (Use.HELD, None): _unused,
}
