"""The adapter to Lambda Cloud's REST API (version 1.8.3, read in August 2026)."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from godwit.domain import errors, gpu_names
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing
from godwit.providers.rest import Rest

URL = "https://cloud.lambda.ai"

STATES: Mapping[str, InstanceState] = {
    "booting": InstanceState.PROVISIONING,
    "active": InstanceState.RUNNING,
    "unhealthy": InstanceState.UNKNOWN,  # it may still run jobs, and is billed
    "terminating": InstanceState.STOPPING,
    "terminated": InstanceState.TERMINATED,
    "preempted": InstanceState.TERMINATED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

ERRORS: Mapping[str, type[errors.ProviderError]] = {
    "global/invalid-api-key": errors.CredentialsRejected,
    "global/account-inactive": errors.CredentialsRejected,
    "instance-operations/launch/insufficient-capacity": errors.NoCapacity,
    "global/quota-exceeded": errors.QuotaExceeded,
    "global/invalid-parameters": errors.RequestRejected,
    "global/object-does-not-exist": errors.RequestRejected,
}
"""The vendor's error codes; it documents that only `code` may be branched on. Others go by their HTTP status."""

RETRY_AFTER_S = 12.0
"""Lambda sends no Retry-After; its slowest documented pace is one launch in twelve seconds."""


class LambdaProvider:
    """A `Provider` over one account. Terminated machines leave its list, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._ssh_key: str | None = setup.options.get("ssh_key")
        url = str(setup.options.get("url", URL))
        self._rest = Rest(
            setup.name,
            url,
            headers={"Authorization": f"Bearer {setup.secrets.get('api_key', '')}"},
            refuse=self._refuse,
            timeout_s=setup.seconds("timeout_s", 20.0),
            trust_env=url == URL,
        )

    def __repr__(self) -> str:
        return f"LambdaProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """No spot by API; InfiniBand only in reserved clusters; user data up to 1 MB."""
        return Capabilities(volumes=True, startup_limit_bytes=1_000_000, billing_step_s=60.0)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """List the SSH keys: launching needs one anyway."""
        keys = self._keys()
        return Standing(f"SSH key {self._ssh_key or next(iter(keys), 'missing')}", ("read",))

    def offers(self) -> Sequence[Offer]:
        """One offer per type and region with capacity now; a type that is nowhere to be had is not offered."""
        types = self._rest.ask("GET", "/api/v1/instance-types")
        return self._rest.parse(lambda: [offer for row in types["data"].values() for offer in self._offers(row)])

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine; Lambda does not recognise a repeated call."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        body = {
            "region_name": request.offer.region,
            "instance_type_name": request.offer.instance_type,
            "ssh_key_names": [self._key()],
            "name": request.token,
            "user_data": request.startup_script,
            "tags": [{"key": tags.TOKEN, "value": request.token}, {"key": tags.OWNER, "value": request.owner}],
        }
        answer = self._rest.ask("POST", "/api/v1/instance-operations/launch", launching=True, json=body)
        instance_id = self._rest.parse(lambda: InstanceId(answer["data"]["instance_ids"][0]), launching=True)
        offer = request.offer
        return Instance(
            instance_id, self._name, InstanceState.PROVISIONING, offer.region, None, offer.instance_type, request.token,
            request.owner, False, offer.price_usd_per_hour, self._clock.now(), "booting",
        )  # fmt: skip

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account; the API answers them in one piece."""
        answer = self._rest.ask("GET", "/api/v1/instances")
        return self._rest.parse(lambda: [self._instance(row) for row in answer["data"]])

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of a machine; an unknown one is no error."""
        body = {"instance_ids": [instance_id]}
        try:
            self._rest.ask("POST", "/api/v1/instance-operations/terminate", missing_is_fine=True, json=body)
        except errors.RequestRejected as rejected:
            # An unknown machine is answered with 400 or 404, and its code cannot be told from a malformed id.
            if "does-not-exist" not in rejected.message:
                raise

    def _offers(self, row: Mapping[str, Any]) -> list[Offer]:
        kind = row["instance_type"]
        specs = kind["specs"]
        model = gpu_names.normalise(kind["gpu_description"], _memory_gib(kind["gpu_description"]))
        return [
            Offer(
                provider=self._name,
                region=region["name"],
                zone=None,
                instance_type=kind["name"],
                gpu_model=(model or kind["gpu_description"]) if specs["gpus"] else None,
                gpu_count=specs["gpus"],
                gpu_memory_gib=_memory_gib(kind["gpu_description"]) if specs["gpus"] else 0.0,
                cpus=specs["vcpus"],
                memory_gib=specs["memory_gib"],
                price_usd_per_hour=kind["price_cents_per_hour"] / 100,
                seen_at=self._clock.now(),
            )
            for region in row["regions_with_capacity_available"]
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        marks = {tag["key"]: tag["value"] for tag in row.get("tags") or []}
        kind = row["instance_type"]
        return Instance(
            InstanceId(row["id"]), self._name, STATES.get(row["status"], InstanceState.UNKNOWN), row["region"]["name"],
            None, kind["name"], marks.get(tags.TOKEN), marks.get(tags.OWNER), False,
            kind["price_cents_per_hour"] / 100, 0.0, row["status"],
        )  # fmt: skip

    def _key(self) -> str:
        if self._ssh_key is None:
            keys = self._keys()
            if not keys:
                raise errors.RequestRejected(f"{self._name}: Lambda wants an SSH key, and the account has none")
            self._ssh_key = keys[0]
        return self._ssh_key

    def _keys(self) -> list[str]:
        answer = self._rest.ask("GET", "/api/v1/ssh-keys")
        return self._rest.parse(lambda: [str(key["name"]) for key in answer["data"]])

    def _refuse(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        del headers
        code, message = body["error"]["code"], f"{self._name}: {body['error']['code']}: {body['error']['message']}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return errors.RateLimited(message, RETRY_AFTER_S)
        known = ERRORS.get(code)
        return None if known is None else known(message)


def _memory_gib(description: str) -> float:
    """GiB per GPU from a text such as "H100 (80 GB SXM5)"; 0 when it does not say."""
    before, found, _ = description.partition(" GB")
    digits = before.rsplit("(", 1)[-1].rsplit(" ", 1)[-1]
    return float(digits) if found and digits.isdecimal() else 0.0
