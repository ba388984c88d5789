"""Nebius' words and errors, and what they mean to the caller of a `Provider`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from godwit.domain import errors
from godwit.domain.offers import InstanceState
from nebius.aio.service_error import RequestError
from nebius.base.error import SDKError

STATES: Mapping[str, InstanceState] = {
    "CREATING": InstanceState.PROVISIONING,
    "UPDATING": InstanceState.PROVISIONING,
    "STARTING": InstanceState.PROVISIONING,
    "RUNNING": InstanceState.RUNNING,
    "STOPPING": InstanceState.STOPPING,
    "STOPPED": InstanceState.STOPPED,
    "DELETING": InstanceState.STOPPING,
    "ERROR": InstanceState.FAILED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

DETAILS: Mapping[str, type[errors.ProviderError]] = {
    "quota_failure": errors.QuotaExceeded,
    "not_enough_resources": errors.NoCapacity,
    "too_many_requests": errors.RateLimited,
    "permission_denied": errors.CredentialsRejected,
}
"""What the detail that comes with an error says; the first one known decides."""

CODES: Mapping[str, type[errors.ProviderError]] = {
    "UNAUTHENTICATED": errors.CredentialsRejected,
    "PERMISSION_DENIED": errors.CredentialsRejected,
    "INVALID_ARGUMENT": errors.RequestRejected,
    "NOT_FOUND": errors.RequestRejected,
    "OUT_OF_RANGE": errors.RequestRejected,
    "UNIMPLEMENTED": errors.RequestRejected,
}
"""What a gRPC code says without such a detail. Those not here leave open whether something happened."""

NOT_YET = ("FAILED_PRECONDITION", "ABORTED")
"""Another operation on the same machine has to end first; on a launch the first of them is a refusal."""

RETRY_AFTER_S = 2.0
"""Nebius does not say for how long to wait, nor are its limits documented."""


class NameTaken(errors.RequestRejected):
    """There is a machine of this name already: an earlier call with the same token bought it."""


@contextmanager
def translated(name: str, *, launching: bool = False) -> Iterator[None]:
    """Turn the SDK's exceptions, and answers that lack what they must have, into a `ProviderError`.

    `launching` says that an answer that never came may have bought a machine.
    """
    try:
        yield
    except RequestError as exc:
        raise refusal(name, exc.status, launching=launching) from exc
    except (SDKError, grpc.RpcError, TimeoutError) as exc:
        raise _in_doubt(f"{name} did not answer: {type(exc).__name__}", launching=launching) from exc
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as exc:
        message = f"{name} sent an answer that cannot be read: {type(exc).__name__}: {exc}"
        raise _in_doubt(message, launching=launching) from exc


def refusal(name: str, status: Any, *, launching: bool) -> errors.ProviderError:
    """The error behind a status: of a call, or of an operation that has failed."""
    code = status.code.name
    message = f"{name}: {code}: {' '.join((status.message or 'no reason given').split())[:300]}"
    fields = [error.details.field for error in status.service_errors if error.details is not None]
    known = next((DETAILS[field] for field in fields if field in DETAILS), CODES.get(code))
    if code == "ALREADY_EXISTS":
        return NameTaken(message)
    if code == "RESOURCE_EXHAUSTED" and known is None:
        # Without a detail: on a launch it is quota or capacity, and another offer is the way on from both.
        known = errors.NoCapacity if launching else errors.RateLimited
    if known is errors.RateLimited:
        return errors.RateLimited(message, RETRY_AFTER_S)
    if known is not None:
        return known(message)
    if code in NOT_YET and not launching:
        return errors.ProviderUnavailable(message)
    return errors.RequestRejected(message) if code == "FAILED_PRECONDITION" else _in_doubt(message, launching=launching)


def is_not_found(exc: errors.ProviderError) -> bool:
    """Whether the resource was not there."""
    cause = exc.__cause__
    return isinstance(cause, RequestError) and cause.status.code is grpc.StatusCode.NOT_FOUND


def _in_doubt(message: str, *, launching: bool) -> errors.ProviderError:
    return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
