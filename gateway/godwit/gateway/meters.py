"""What each API key has used of its requests and tokens per minute, in this gateway."""

from dataclasses import dataclass, field

from godwit.domain.wire.routes import KeyRoute
from godwit.gateway.regulator.sheds import Shed

MINUTE_S = 60.0


@dataclass
class Bucket:
    """A token bucket that holds one minute's worth; it may be overdrawn, and is then paid back first."""

    per_min: int
    at: float
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = float(self.per_min)

    def short_s(self, amount: float, now: float) -> float:
        """After how many seconds `amount` is there; 0 when it is."""
        self.level = min(self.per_min, self.level + max(0.0, now - self.at) * self.per_min / MINUTE_S)
        self.at = now
        return max(0.0, (min(amount, self.per_min) - self.level) * MINUTE_S / self.per_min)


@dataclass
class Meter:
    """The two buckets of one key."""

    key: KeyRoute
    now: float
    requests: Bucket | None = field(init=False)
    tokens: Bucket | None = field(init=False)

    def __post_init__(self) -> None:
        self.requests = Bucket(self.key.requests_per_min, self.now) if self.key.requests_per_min else None
        self.tokens = Bucket(self.key.tokens_per_min, self.now) if self.key.tokens_per_min else None

    def ask(self, now: float) -> tuple[Shed, float] | None:
        """Count one request; or why not, and for how many seconds.

        How many tokens it will take is not known yet: it may start while there is one, and `spent` may overdraw.
        """
        if self.tokens is not None and (short_s := self.tokens.short_s(1.0, now)) > 0:
            return Shed.KEY_TOKENS, short_s
        if self.requests is not None:
            if (short_s := self.requests.short_s(1.0, now)) > 0:
                return Shed.KEY_REQUESTS, short_s
            self.requests.level -= 1.0
        return None

    def spent(self, tokens: int) -> None:
        """A request took so many tokens."""
        if self.tokens is not None:
            self.tokens.level -= tokens


@dataclass
class Meters:
    """The meters of all keys; one whose limits changed starts anew."""

    by_key: dict[str, Meter] = field(default_factory=dict)

    def of(self, key: KeyRoute, now: float) -> Meter:
        """The meter of this key."""
        meter = self.by_key.get(key.id)
        if meter is None or meter.key != key:
            meter = self.by_key[key.id] = Meter(key, now)
        return meter

    def keep(self, ids: set[str]) -> None:
        """Forget all other keys."""
        for gone in self.by_key.keys() - ids:
            del self.by_key[gone]
