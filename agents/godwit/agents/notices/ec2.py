"""EC2: the instance metadata service says when a spot machine is interrupted, two minutes before, by IMDSv2.

Sources: Amazon EC2 User Guide, "Spot Instance interruption notices" (`spot/instance-action`, 404 until there is one),
"EC2 instance rebalance recommendations" (`events/recommendations/rebalance`), and "Use IMDSv2" (session tokens of at
most six hours).
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import structlog
from godwit.agents.effects import Noticed

log = structlog.get_logger()

URL = "http://169.254.169.254"
"""The service's link-local address."""

URL_NAME = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""The variable by which Amazon's own SDKs are told of another address."""

VENDOR = Path("/sys/class/dmi/id/sys_vendor")
TOKEN_S = 21_600
ANSWER_S = 0.4
"""The service is on the machine's own host and answers in a millisecond."""

REBALANCE_EVERY = 10
"""Every how many looks the recommendation is read: it is given minutes ahead, and at best effort."""


def is_here(env: Mapping[str, str], vendor: Path = VENDOR) -> bool:
    """Whether this machine is one of EC2's, or says where its metadata is."""
    if env.get(URL_NAME):
        return True
    try:
        return vendor.read_text().strip() == "Amazon EC2"
    except OSError:
        return False  # not a PC, or no such information


class Ec2:
    """Asks the metadata service. A service that does not answer says nothing: the first time that is logged."""

    every_s = 0.5

    def __init__(self, url: str, wall_s: Callable[[], float] = time.time) -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False)
        self._wall_s = wall_s
        self._token = ""
        self._looks = 0
        self._complained = False

    def look(self) -> Noticed | None:
        """The interruption if there is one, else the recommendation."""
        try:
            return self._look()
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
            if not self._complained:
                self._complained = True
                log.warning("the metadata service cannot be read", reason=f"{type(exc).__name__}: {exc}")
            return None

    def _look(self) -> Noticed | None:
        action = self._read("/latest/meta-data/spot/instance-action")
        if action is not None:
            within_s = max(0.0, _instant(action["time"]) - self._wall_s())
            return Noticed("ec2", within_s, f"spot/instance-action says {action['action']} at {action['time']}"[:500])
        self._looks += 1
        if self._looks % REBALANCE_EVERY == 1 and self._read("/latest/meta-data/events/recommendations/rebalance"):
            return Noticed("ec2", None, "a rebalance is recommended: this machine is more likely to be interrupted")
        return None

    def _read(self, path: str) -> dict[str, Any] | None:
        """What lies there; None when there is nothing. A token that has expired is renewed, once."""
        for _ in range(2):
            if not self._token:
                headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
                self._token = self._client.put("/latest/api/token", headers=headers).raise_for_status().text
            answer = self._client.get(path, headers={"X-aws-ec2-metadata-token": self._token})
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                break
            self._token = ""
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return dict(json.loads(answer.raise_for_status().text[:4096]))


def _instant(text: object) -> float:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
