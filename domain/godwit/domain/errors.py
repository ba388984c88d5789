"""Errors, sorted by what the caller does next.

    GodwitError
    ├── InvalidRequest          fix the input; nothing was changed
    ├── Unauthenticated         present a valid token
    ├── Forbidden               ask for a role that may
    ├── NotFound                it is not there (or not yours)
    ├── Gone                    it was there and will not come back: stop asking
    ├── TooLarge                send less
    ├── Conflict                reload, then decide again
    │   ├── StaleWrite          another writer was first; reload and retry
    │   └── InvalidTransition   this state has no such edge
    ├── ProviderError           a cloud did not do what was asked
    │   ├── NoCapacity          try the next offer
    │   ├── QuotaExceeded       try the next region or provider
    │   ├── RateLimited         wait `retry_after_s`
    │   ├── CredentialsRejected stop calling, tell a person
    │   ├── RequestRejected     the provider finds the request wrong; do not repeat it
    │   ├── ProviderUnavailable nothing happened; back off and repeat
    │   └── UnknownOutcome      it may have happened: list by token before anything else
    ├── CheckpointDamaged       fall back to the one before
    └── InvariantBroken         our bug: crash loudly

The docstring of a class is its default message; fields carry the facts.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class GodwitError(Exception):
    """Something went wrong in godwit."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """What happened, why, and what to do now: for a person."""
        return str(self.args[0])


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where (`path` of keys), what, what would be accepted, and the nearest match."""

    path: tuple[str | int, ...]
    message: str
    accepted: tuple[str, ...] = ()
    did_you_mean: str | None = None


class InvalidRequest(GodwitError):
    """The request is not valid; nothing was changed."""

    def __init__(self, message: str | None = None, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message or (problems[0].message if problems else None))
        self.problems = tuple(problems)


class Unauthenticated(GodwitError):
    """A valid bearer token is needed: set GODWIT_TOKEN, or run on the machine where `godwit up` ran."""


class Forbidden(GodwitError):
    """This token may not do that."""


class NotFound(GodwitError):
    """There is no such thing here."""


class Gone(GodwitError):
    """This is not wanted any more and will not come back."""


class TooLarge(GodwitError):
    """The request is larger than is accepted."""


class Conflict(GodwitError):
    """The state has changed or does not allow this; reload and decide again."""


class StaleWrite(Conflict):
    """Another writer changed this row first; reload and retry."""


class InvalidTransition(Conflict):
    """This state has no such edge."""


class ProviderError(GodwitError):
    """A provider did not do what was asked."""


class NoCapacity(ProviderError):
    """The provider has no capacity for this offer now; try the next one."""


class QuotaExceeded(ProviderError):
    """The account's quota does not allow this; try another region or provider, or ask for more."""


class RateLimited(ProviderError):
    """The provider asks for fewer calls."""

    def __init__(self, message: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CredentialsRejected(ProviderError):
    """The provider does not accept the credentials; no more calls until a person replaces them."""


class RequestRejected(ProviderError):
    """The provider finds the request itself wrong; repeating it is useless."""


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached or answers errors; nothing happened, back off and repeat."""


class UnknownOutcome(ProviderError):
    """The call may have taken effect; list by token before anything else."""


class CheckpointDamaged(GodwitError):
    """A file of the checkpoint is missing or its checksum differs; use the one before."""


class InvariantBroken(GodwitError):
    """A rule that must always hold does not; this is a bug in godwit."""
