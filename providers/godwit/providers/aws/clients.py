"""boto3's clients of one account, made when first needed."""

import logging
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
import botocore.config
import botocore.loaders
import botocore.session

logging.getLogger("botocore").setLevel(logging.INFO)
"""At DEBUG botocore logs the bodies of requests, and a launch's holds the join token."""


class Clients:
    """Clients by service and region. Safe to call from several threads.

    Without `secrets`, boto3's own chain finds credentials: the environment, `~/.aws`, the role of this machine.
    `url` replaces every service's address, and then the environment's proxies are ignored, as loopback addresses
    must. Nothing is repeated: the layers around the provider repeat what is safe to repeat.
    """

    def __init__(self, secrets: Mapping[str, str], url: str | None, timeout_s: float) -> None:
        self._secrets, self._url = secrets, url
        self._config = botocore.config.Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={} if url else None,
        )
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()  # boto3's sessions are not safe to share, its clients are

    def of(self, service: str, region: str) -> Any:
        """The client of a service in a region."""
        with self._lock:
            if (service, region) not in self._made:
                self._made[service, region] = self._session().client(
                    service, region_name=region, endpoint_url=self._url, config=self._config
                )
            return self._made[service, region]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._made.values():
                client.close()
            self._made.clear()

    def _session(self) -> boto3.Session:
        core = botocore.session.Session()
        core.register_component("data_loader", _loader())
        return boto3.Session(
            aws_access_key_id=self._secrets.get("access_key_id") or None,
            aws_secret_access_key=self._secrets.get("secret_access_key") or None,
            botocore_session=core,
        )


@cache
def _loader() -> botocore.loaders.Loader:
    """One for the process: it keeps EC2's description, megabytes that take long to read."""
    return botocore.session.Session().get_component("data_loader")
