"""EC2's words and errors, and what they mean to the caller of a `Provider`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore import exceptions
from godwit.domain import errors
from godwit.domain.offers import InstanceState

STATES: Mapping[str, InstanceState] = {
    "pending": InstanceState.PROVISIONING,
    "running": InstanceState.RUNNING,
    "stopping": InstanceState.STOPPING,
    "stopped": InstanceState.STOPPED,
    "shutting-down": InstanceState.STOPPING,
    "terminated": InstanceState.TERMINATED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

_MEANINGS: Mapping[type[errors.ProviderError], str] = {
    errors.NoCapacity: """
        InsufficientInstanceCapacity InsufficientReservedInstanceCapacity InsufficientCapacity
        InsufficientHostCapacity ReservationCapacityExceeded InvalidCapacityReservationId.NotFound
        InvalidCapacityReservationState SpotMaxPriceTooLow Unsupported
    """,
    errors.QuotaExceeded: """
        VcpuLimitExceeded InstanceLimitExceeded MaxSpotInstanceCountExceeded VolumeLimitExceeded
        InsufficientFreeAddressesInSubnet PendingVerification
    """,
    errors.RateLimited: "RequestLimitExceeded Throttling ThrottlingException TooManyRequestsException",
    errors.CredentialsRejected: """
        AuthFailure UnauthorizedOperation InvalidClientTokenId SignatureDoesNotMatch RequestExpired ExpiredToken
        ExpiredTokenException MissingAuthenticationToken IncompleteSignature AccessDenied AccessDeniedException
        UnrecognizedClientException InvalidSignatureException OptInRequired Blocked
    """,
}
"""From the EC2 API's list of error codes (read in October 2026). `Unsupported` is a type that this zone does not
have: like a reservation that is over and a spot price that is too low it calls for the next offer. Other codes go by
their HTTP status."""

ERRORS: Mapping[str, type[errors.ProviderError]] = {
    code: meaning for meaning, codes in _MEANINGS.items() for code in codes.split()
}

NOT_FOUND = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
"""EC2 says the first of a machine of another region too, and for seconds of one just launched."""

RETRY_AFTER_S = 2.0
"""EC2 sends no Retry-After; its slowest bucket refills two tokens a second, shared with everyone in the account."""

_BEFORE_SENDING = (
    exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyConnectionError
)  # fmt: skip
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError
)  # fmt: skip


@contextmanager
def translated(name: str, *, launching: bool = False) -> Iterator[None]:
    """Turn boto3's exceptions, and answers that lack what they must have, into a `ProviderError`.

    `launching` says that an answer that never came may have bought a machine.
    """
    try:
        yield
    except exceptions.ClientError as exc:
        raise _refusal(name, exc, launching=launching) from exc
    except _NO_CREDENTIALS as exc:
        raise errors.CredentialsRejected(f"{name}: no usable credentials ({type(exc).__name__}); set them") from exc
    except _BEFORE_SENDING as exc:
        raise errors.ProviderUnavailable(f"{name} cannot be reached: {exc}") from exc
    except exceptions.ParamValidationError as exc:
        # Its text repeats the parameters, among them the startup script.
        raise errors.RequestRejected(f"{name}: the SDK finds the request malformed") from exc
    except exceptions.BotoCoreError as exc:
        raise _in_doubt(f"{name} did not answer: {type(exc).__name__}", launching=launching) from exc
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as exc:
        message = f"{name} sent an answer that cannot be read: {type(exc).__name__}: {exc}"
        raise _in_doubt(message, launching=launching) from exc


def code_of(exc: exceptions.ClientError) -> str:
    """The vendor's error code."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def _refusal(name: str, exc: exceptions.ClientError, *, launching: bool) -> errors.ProviderError:
    code, said = code_of(exc), str(exc.response.get("Error", {}).get("Message", ""))[:300]
    message = f"{name}: {code}: {said}"
    known = ERRORS.get(code)
    if known is errors.RateLimited:
        return errors.RateLimited(message, RETRY_AFTER_S)
    if known is not None:
        return known(message)
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    return _in_doubt(message, launching=launching) if status >= 500 else errors.RequestRejected(message)


def _in_doubt(message: str, *, launching: bool) -> errors.ProviderError:
    return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
