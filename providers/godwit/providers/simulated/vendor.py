"""The simulated clouds' own words, and their translation into godwit's: the one table of each."""

from collections.abc import Mapping
from typing import Any

from godwit.domain import errors
from godwit.domain.drills import Drill
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers.protocol import Capabilities

STATES: Mapping[str, InstanceState] = {
    "provisioning": InstanceState.PROVISIONING,
    "running": InstanceState.RUNNING,
    "stopping": InstanceState.STOPPING,
    "terminated": InstanceState.TERMINATED,
    "failed": InstanceState.FAILED,
}

TAG_OWNER = "godwit-owner"
TAG_TOKEN = "godwit-token"  # noqa: S105 - the name of a tag
STARTUP_LIMIT_BYTES = 65_536

CAPABILITIES = Capabilities(
    spot=True, fabric=True, client_token=True, startup_limit_bytes=STARTUP_LIMIT_BYTES, drills=frozenset(Drill)
)


class Refused(Exception):
    """The cloud says no: an HTTP status, its own code, and why."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


_ERRORS: Mapping[tuple[int, str], type[errors.ProviderError]] = {
    (401, "unauthorized"): errors.CredentialsRejected,
    (403, "quota_exceeded"): errors.QuotaExceeded,
    (403, "forbidden"): errors.CredentialsRejected,
    (409, "no_capacity"): errors.NoCapacity,
    (503, "unavailable"): errors.ProviderUnavailable,  # this cloud's documented promise: nothing was done
}


def known_error(status: int, code: str, message: str, retry_after_s: float | None) -> errors.ProviderError | None:
    """What an answer means that this cloud documents; None for any other."""
    if status == 429:
        return errors.RateLimited(message, retry_after_s if retry_after_s is not None else 1.0)
    known = _ERRORS.get((status, code))
    return None if known is None else known(message)


def error_from(
    status: int, code: str, message: str, retry_after_s: float | None, *, launching: bool
) -> errors.ProviderError:
    """What the caller of godwit's protocol shall do about this answer, sorted as `rest.Rest` does.

    A 5xx that the table does not know promises nothing: a launch behind it may have taken effect.
    """
    known = known_error(status, code, message, retry_after_s)
    if known is not None:
        return known
    if status >= 500:
        return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
    return errors.CredentialsRejected(message) if status in (401, 403) else errors.RequestRejected(message)


def offer_from(provider: ProviderName, data: Mapping[str, Any], seen_at: float) -> Offer:
    """An offer as godwit knows it. Raises `KeyError` when the cloud left out a field that it always has."""
    return Offer(
        provider=provider,
        region=data["region"],
        zone=data["zone"],
        instance_type=data["instance_type"],
        gpu_model=data["gpu_model"],
        gpu_count=data["gpu_count"],
        gpu_memory_gib=data["gpu_memory_gib"],
        cpus=data["cpus"],
        memory_gib=data["memory_gib"],
        price_usd_per_hour=data["price_usd_per_hour"],
        spot=data["spot"],
        capacity=data["available"],
        fabric_domain=data["fabric_domain"],
        seen_at=seen_at,
    )


def instance_from(provider: ProviderName, data: Mapping[str, Any]) -> Instance:
    """An instance as godwit knows it; a state never seen before becomes `UNKNOWN` with the word kept in `detail`."""
    word = data["state"]
    detail = f"{word}: {data['detail']}" if data["detail"] else word
    return Instance(
        id=InstanceId(data["id"]),
        provider=provider,
        state=STATES.get(word, InstanceState.UNKNOWN),
        region=data["region"],
        zone=data["zone"],
        instance_type=data["instance_type"],
        token=data["tags"].get(TAG_TOKEN),
        owner=data["tags"].get(TAG_OWNER),
        spot=data["spot"],
        price_usd_per_hour=data["price_usd_per_hour"],
        created_at=data["created_at"],
        detail=detail,
        billed_until=data.get("billed_until"),
    )


def launch_order(offer: Offer, token: str, owner: str, startup_script: str) -> dict[str, Any]:
    """The body of a launch, in the cloud's words."""
    return {
        "client_token": token,
        "instance_type": offer.instance_type,
        "region": offer.region,
        "zone": offer.zone,
        "spot": offer.spot,
        "tags": {TAG_TOKEN: token, TAG_OWNER: owner},
        "user_data": startup_script,
    }
