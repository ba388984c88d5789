"""Why a request was refused, and when it is worth coming back."""

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random

RETRY_AFTER_MIN_S = 1.0
RETRY_AFTER_MAX_S = 60.0
"""Beyond a minute an estimate from the present load says nothing."""


class Shed(StrEnum):
    """The reason of a refusal; metrics, logs and the answer's body name it."""

    QUEUE_FULL = "queue-full"
    WOULD_WAIT_TOO_LONG = "would-wait-too-long"
    WAITED_TOO_LONG = "waited-too-long"
    DISPLACED = "displaced-by-interactive"
    NO_REPLICA = "no-replica"
    REPLICA_FAILED = "replica-failed"
    KEY_REQUESTS = "key-request-limit"
    KEY_TOKENS = "key-token-limit"
    LEAVING = "gateway-leaving"


MEANINGS: dict[Shed, str] = {
    Shed.QUEUE_FULL: "as many requests wait for this service as may",
    Shed.WOULD_WAIT_TOO_LONG: "those before it take longer than a request may wait",
    Shed.WAITED_TOO_LONG: "its turn did not come while it waited",
    Shed.DISPLACED: "the queue is full, and interactive requests go before batch",
    Shed.NO_REPLICA: "no replica of this service takes requests at present",
    Shed.REPLICA_FAILED: "no replica answered: it was sent as often as may be, or sending it again is not safe",
    Shed.KEY_REQUESTS: "this API key has used up its requests per minute",
    Shed.KEY_TOKENS: "this API key has used up its tokens per minute",
    Shed.LEAVING: "this gateway is about to stop; another one serves",
}

_OWN_DOING = frozenset({Shed.KEY_REQUESTS, Shed.KEY_TOKENS})


@dataclass(frozen=True)
class Refusal:
    """A request is not served: why, and after how many seconds to try again."""

    reason: Shed
    retry_after_s: float

    @property
    def status(self) -> int:
        """429 where the caller exceeds its own limits, 503 where the service cannot serve (RFC 6585, RFC 9110)."""
        if self.reason is Shed.REPLICA_FAILED:
            return 502
        return 429 if self.reason in _OWN_DOING else 503

    @property
    def retry_after(self) -> str:
        """The value of the Retry-After header: whole seconds, rounded up."""
        return str(math.ceil(self.retry_after_s))


def spread(wait_s: float, rng: Random) -> float:
    """When those refused now should come back: after `wait_s`, and not all at once.

    Uniform over one to two times the wait, so that a crowd that was refused together comes back thinly.
    """
    bounded = min(RETRY_AFTER_MAX_S, max(RETRY_AFTER_MIN_S, wait_s))
    return bounded * (1.0 + rng.random())
