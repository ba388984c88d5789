"""One message to one receiver: signed, bounded in time and size, following no redirect."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from godwit.control_plane import addresses, outward
from godwit.control_plane.addresses import Lookup
from godwit.control_plane.notifying import messages
from godwit.control_plane.notifying.targets import Target
from godwit.control_plane.version import VERSION

TIMEOUT_S = 10.0
RETRY_AFTER_MAX_S = 3_600.0


@dataclass(frozen=True)
class Answer:
    """What became of a try. `detail` says why not, without the receiver's words: they may echo what was sent."""

    delivered: bool
    detail: str
    retry_after_s: float | None = None


Send = Callable[[Target, str, str, float], Answer]
"""(target, id of the delivery, message as JSON, now) -> answer. Blocks; raises nothing."""


def signature(secret: str, at: float, body: bytes) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`, so that an old message cannot be sent again as a new one."""
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


class Sender:
    """Sends over HTTP(S). Proxies of the environment are not used: they would look names up behind our back."""

    def __init__(self, lookup: Lookup = addresses.resolve, timeout_s: float = TIMEOUT_S) -> None:
        self._lookup, self._timeout_s = lookup, timeout_s

    def send(self, target: Target, delivery: str, told: str, now: float) -> Answer:
        """Send one message; see `Send`."""
        host = target.host
        body = messages.written_for(target.kind, told)
        headers = {
            "Content-Type": "application/json", "User-Agent": f"godwit/{VERSION}", "X-Godwit-Delivery": delivery,
        }  # fmt: skip
        if target.secret:
            headers["X-Godwit-Signature"] = signature(target.secret, now, body)
        way = outward.Judged(private=target.allow_private, lookup=self._lookup, total_s=2 * self._timeout_s)
        try:
            with (
                httpx.Client(transport=way, timeout=self._timeout_s, trust_env=False) as client,
                client.stream("POST", target.url, content=body, headers=headers) as response,
            ):
                return _answer(response)
        except outward.NotDialled as refused:
            return Answer(delivered=False, detail=str(refused))
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return Answer(delivered=False, detail=f"{host} did not answer ({type(exc).__name__})")


def _answer(response: httpx.Response) -> Answer:
    if response.is_success:
        return Answer(delivered=True, detail=f"HTTP {response.status_code}")
    try:
        pause_s = min(RETRY_AFTER_MAX_S, max(0.0, float(response.headers.get("Retry-After", ""))))
    except ValueError:
        pause_s = None
    return Answer(delivered=False, detail=f"HTTP {response.status_code}", retry_after_s=pause_s)
