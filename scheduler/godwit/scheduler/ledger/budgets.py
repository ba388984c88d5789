"""Budgets: for how long they count, which shares are passed, and what is not done any more once one is spent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

SHARES = (0.5, 0.8, 1.0)
"""The shares at which people are told."""

WARN, STOP_NEW, STOP = "warn", "stop-new", "stop"
"""What happens once a budget is spent: people are told; or nothing new starts either; or what runs stops too."""


@dataclass(frozen=True)
class Budget:
    """What may be spent since an instant and what is; `subject` is "project" or "job", `key` its name or id."""

    subject: str
    key: str
    usd: float
    spent_usd: float
    since: float
    on_spent: str = WARN
    usd_per_hour: float = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether nothing of it is left."""
        return self.spent_usd >= self.usd

    @property
    def stops_new(self) -> bool:
        """Whether nothing new may start."""
        return self.is_spent and self.on_spent in {STOP_NEW, STOP}

    @property
    def stops_all(self) -> bool:
        """Whether what runs must stop as well."""
        return self.is_spent and self.on_spent == STOP

    def passed(self) -> list[float]:
        """The shares that it has passed."""
        return [share for share in SHARES if self.spent_usd >= share * self.usd]

    def ends_at(self, now: float) -> float | None:
        """When it is spent at the pace of now; None where nothing is being spent, or nothing is left."""
        if self.is_spent or self.usd_per_hour <= 0:
            return None
        return now + (self.usd - self.spent_usd) / self.usd_per_hour * 3600

    def told(self, share: float) -> str:
        """What people are told when a share is passed."""
        whose = f"project {self.key}, this month" if self.subject == "project" else f"job {self.key}"
        said = f"{share:.0%} of the budget of {whose} is spent: ${self.spent_usd:,.2f} of ${self.usd:,.2f}"
        if share < 1:
            return said
        then = {STOP_NEW: "; nothing new of it starts", STOP: "; nothing new of it starts, and what runs is stopped"}
        return said + then.get(self.on_spent, "; it goes on (the budget only warns)")

    def why_not(self) -> str:
        """Why nothing of it starts any more, and what would help."""
        return (
            f"the budget of {self.subject} {self.key} is spent: ${self.spent_usd:,.2f} of ${self.usd:,.2f}; "
            "`godwit budget set` raises it"
        )


def month_of(at: float) -> float:
    """The beginning of the calendar month (UTC) in which an instant lies."""
    day = datetime.fromtimestamp(at, UTC)
    return datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()


def to_tell(budget: Budget, told: Iterable[float]) -> list[float]:
    """The shares that were passed and of which nobody was told."""
    known = set(told)
    return [share for share in budget.passed() if share not in known]
