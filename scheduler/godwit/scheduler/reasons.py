"""Refusals are values: why something cannot be used now, what would help, and when it is looked at next."""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What kind of refusal it is; stable for programs. What time may lift comes first: explanations use the order."""

    AFTER = "after"
    NOT_LAUNCHING = "not-launching"
    NO_OFFERS = "no-offers"
    FLEET_MAX = "fleet-max"
    HELD = "held"
    NO_CAPACITY = "no-capacity"
    YIELDING = "yielding"
    QUOTA = "quota"
    BUDGET = "budget"
    STARTS_FAIL = "starts-fail"
    NO_SECRET = "no-secret"  # noqa: S105 - it says that one is missing
    KEPT = "kept"
    BUSY = "busy"
    APART = "apart"
    NOT_TOGETHER = "not-together"
    RESERVED = "reserved"
    NOT_READY = "not-ready"
    UNFIT = "unfit"
    FENCING = "fencing"
    BEHIND = "behind"
    NO_PRICE = "no-price"
    NO_FABRIC = "no-fabric"
    TOO_MANY_NODES = "too-many-nodes"
    TOO_FEW_GPUS = "too-few-gpus"
    TOO_SMALL = "too-small"
    CANNOT_SAVE = "cannot-save"
    WRONG_MARKET = "wrong-market"
    WRONG_GPU = "wrong-gpu"
    NOT_ALLOWED_THERE = "not-allowed-there"


@dataclass(frozen=True)
class Refusal:
    """One reason why a job does not run: `subject` refuses it with `message`; `would_help` says what changes that."""

    code: Code
    subject: str
    message: str
    would_help: str = ""
    retry_at: float | None = None
