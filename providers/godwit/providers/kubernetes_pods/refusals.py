"""What an API server's refusal means: its `Status` in, the error that says what to do next out. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from godwit.domain import errors

Json = Mapping[str, Any]


class Exists(errors.RequestRejected):
    """An object of that name was made before."""


class Changed(errors.ProviderUnavailable):
    """Another writer was first, so nothing was done."""


class Expired(errors.ProviderUnavailable):
    """The continue token is too old."""


REASONS: Mapping[str, type[errors.ProviderError]] = {
    "Unauthorized": errors.CredentialsRejected,
    "Invalid": errors.RequestRejected,
    "BadRequest": errors.RequestRejected,
    "NotFound": errors.RequestRejected,
    "RequestEntityTooLarge": errors.RequestRejected,
    "AlreadyExists": Exists,
    "Conflict": Changed,  # also on a create, when a quota's counter moved meanwhile
}
"""Reasons of a `Status` that say by themselves what to do; the rest goes by message or by HTTP status."""

_NO_RIGHT = re.compile(r'is forbidden: User "[^"]*" cannot ')
"""How an API server (v1.36) says that the account lacks a right. Policies word their refusals as they like, so that
"cannot" alone says nothing."""


def read(
    name: str, status: int, body: Json, headers: Mapping[str, str], *, launching: bool = False
) -> errors.ProviderError:
    """The error for an answer that is no success. `name` is the provider's; `launching`: a 5xx leaves doubt."""
    reason, said = str(body.get("reason") or status), " ".join(str(body.get("message") or "").split())[:300]
    message = f"{name}: {reason}: {said or 'no reason given'}"
    if status == 410:
        return Expired(message)
    if status == 429:
        return errors.RateLimited(message, _seconds(headers.get("Retry-After")))
    if status == 403:
        return _forbidden(said)(message)
    if reason in REASONS:
        return REASONS[reason](message)
    if status >= 500:
        return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
    return errors.CredentialsRejected(message) if status == 401 else errors.RequestRejected(message)


def _forbidden(said: str) -> type[errors.ProviderError]:
    """403 is one status for three things: a quota, the account's own rights, and what admission does not like."""
    if "exceeded quota" in said:
        return errors.QuotaExceeded
    return errors.CredentialsRejected if _NO_RIGHT.search(said) or not said else errors.RequestRejected


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return 1.0
