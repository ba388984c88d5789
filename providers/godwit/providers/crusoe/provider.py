"""The adapter to Crusoe's REST API (v1, read in August 2026).

Launches and deletions are operations: the answer to a launch names the machine, and only the operation tells whether
it came to be. Spot rates exist, but no way to ask for them is published, so nothing is offered as spot.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from godwit.domain import errors
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.crusoe import catalogue
from godwit.providers.crusoe.signing import Signature
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing
from godwit.providers.rest import Rest, instant_of, said

URL = "https://api.cloud.crusoe.ai"

STATES: Mapping[str, InstanceState] = {
    "CREATING": InstanceState.PROVISIONING,
    "RUNNING": InstanceState.RUNNING,
    "SHUTOFF": InstanceState.STOPPED,
    "STOPPED": InstanceState.STOPPED,
    "DELETING": InstanceState.STOPPING,
    "DELETED": InstanceState.TERMINATED,
}
"""The vendor's words without "STATE_", which is there or not; the list is not published, others are `UNKNOWN`."""

FAILURES: Sequence[tuple[str, type[errors.ProviderError]]] = (
    ("out_of_stock", errors.NoCapacity),
    ("quota", errors.QuotaExceeded),
)
"""Words in the result of an operation that failed; after any other reason nothing is left either: `Unavailable`."""

IMAGES: Sequence[tuple[str, str]] = (
    ("mi300x", "ubuntu22.04:latest"),
    ("-sxm", "ubuntu22.04-nvidia-sxm-docker:latest"),
    ("", "ubuntu22.04-nvidia-pcie-docker:latest"),
)
"""The vendor's image by what the type's name contains, the first that fits."""

PAGE_SIZE = 100
POLLS = 5
"""Looks at a launch under way: a type that is out of stock shows within seconds, a machine takes a minute."""

FAILED = "FAILED"
SUCCEEDED = "SUCCEEDED"


class CrusoeProvider:
    """A `Provider` over one project. Deleted machines leave its list, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._options = setup.options
        if not setup.options.get("project"):
            raise InvalidRequest(problems=[Problem(("project",), "Crusoe needs the id of a project")])
        self._project = f"/v1/projects/{setup.options['project']}"
        self._partitions: Mapping[str, str] = setup.options.get("ib_partitions", {})
        self._own_prices: Mapping[str, float] = setup.options.get("prices_usd_per_gpu_hour", {})
        self._poll_s = setup.seconds("poll_s", 2.0)
        url = str(setup.options.get("url", URL))
        secrets = setup.secrets
        self._rest = Rest(
            setup.name,
            url,
            auth=Signature(secrets.get("access_key_id", ""), secrets.get("secret_key", ""), setup.clock),
            timeout_s=setup.seconds("timeout_s", 20.0),
            trust_env=url == URL,
        )

    def __repr__(self) -> str:
        return f"CrusoeProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Fabric where partitions are configured. The limit of the startup script and the billing step are not told."""
        return Capabilities(volumes=True, fabric=bool(self._partitions), startup_limit_bytes=16_384)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """Read the project's quotas."""
        answer = self._rest.ask("GET", f"{self._project}/quotas")
        quotas = self._rest.parse(
            lambda: tuple(
                Quota(row["programmatic_name"], row.get("max"), row.get("available")) for row in answer["quotas"]
            )
        )
        return Standing(f"project {self._options['project']}", ("read",), quotas)

    def offers(self) -> Sequence[Offer]:
        """One offer per type and location with capacity now, at the catalogue's price or one's own."""
        types = self._rest.ask("GET", f"{self._project}/compute/vms/types")
        capacities = self._rest.ask("GET", "/v1/capacities")
        return self._rest.parse(lambda: self._offers(types["items"], capacities["items"]))

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine, and look for some seconds whether it comes to be."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        body, offer = self._order(request), request.offer
        answer = self._rest.ask("POST", f"{self._project}/compute/vms/instances", launching=True, json=body)
        instance_id = self._rest.parse(lambda: InstanceId(str(answer["operation"]["metadata"]["id"])), launching=True)
        operation = self._settled(answer["operation"])
        if operation.get("state") == FAILED:
            raise self._undone(instance_id, operation)
        return Instance(
            instance_id, self._name, InstanceState.PROVISIONING, offer.region, None, offer.instance_type,
            request.token, request.owner, offer.spot, offer.price_usd_per_hour, self._clock.now(), "CREATING",
        )  # fmt: skip

    def instances(self) -> Sequence[Instance]:
        """Every machine of the project, paged to the end."""
        rows = self._rest.pages(self._page)
        return self._rest.parse(lambda: [self._instance(row) for row in rows])

    def terminate(self, instance_id: InstanceId) -> None:
        """Delete a machine and its system disk; an unknown one is no error."""
        try:
            self._rest.ask("DELETE", f"{self._project}/compute/vms/instances/{instance_id}", missing_is_fine=True)
        except errors.CredentialsRejected:
            # Crusoe answers 403 for what is not there, too. Keys that may not even list raise here once more.
            if any(instance.id == instance_id for instance in self.instances()):
                raise

    def _page(self, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
        params = {"limit": PAGE_SIZE} | ({"next_token": token} if token else {})
        answer = self._rest.ask("GET", f"{self._project}/compute/vms/instances", params=params)
        return self._rest.parse(lambda: (list(answer["items"]), answer.get("next_page_token") or None))

    def _order(self, request: LaunchRequest) -> dict[str, Any]:
        product, partition = request.offer.instance_type, request.offer.fabric_domain
        order = {
            # The API has no tags, and its names no dots.
            "name": tags.name_of(request.token, request.owner).replace(".", "--"),
            "type": product,
            "location": request.offer.region,
            "image": self._options.get("image") or next(image for part, image in IMAGES if part in product),
            "ssh_public_key": self._options.get("ssh_public_key") or self._first_key(),
            "startup_script": request.startup_script,
        }
        return order | ({"host_channel_adapters": [{"transport_partition_id": partition}]} if partition else {})

    def _settled(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The operation once it is over, or as it is after `POLLS` looks: then the listing shows what comes of it."""
        for look in range(POLLS):
            if operation.get("state") in (FAILED, SUCCEEDED):
                break
            if look:
                time.sleep(self._poll_s)
            try:
                operation = self._operation(operation.get("operation_id"))
            except errors.ProviderError:
                break  # the machine is bought and its id is known; what becomes of it is in the listing
        return operation

    def _operation(self, operation_id: str | None) -> dict[str, Any]:
        answer = self._rest.ask("GET", f"{self._project}/compute/vms/instances/operations/{operation_id}")
        return self._rest.parse(lambda: {"state": answer["state"], **answer})

    def _undone(self, instance_id: InstanceId, operation: Mapping[str, Any]) -> errors.ProviderError:
        """What a launch came to that failed after it was accepted; what it left behind is deleted."""
        result = operation.get("result") or {}
        words = f"{result.get('code') or ''}: {said(result)}" if isinstance(result, Mapping) else said(result)
        message = f"{self._name} did not make machine {instance_id}: {words}"
        try:
            self.terminate(instance_id)
        except errors.ProviderError as error:
            return errors.UnknownOutcome(f"{message}; and it could not be deleted: {error.message}")
        known = next((kind for word, kind in FAILURES if word in words.lower()), errors.ProviderUnavailable)
        return known(message)

    def _offers(self, types: Sequence[Mapping[str, Any]], capacities: Sequence[Mapping[str, Any]]) -> list[Offer]:
        left: dict[tuple[str, str], int] = {}
        for row in capacities:
            place = (row["type"], row["location"])
            left[place] = max(left.get(place, 0), row["quantity"])
        by_name = {row["product_name"]: row for row in types}
        return [
            offer
            for (product, location), quantity in left.items()
            if quantity > 0 and product in by_name
            for offer in self._offer(by_name[product], location, quantity)
        ]

    def _offer(self, kind: Mapping[str, Any], location: str, quantity: int) -> list[Offer]:
        product, count = kind["product_name"], kind["num_gpu"]
        family = catalogue.family_of(product, kind["gpu_type"], self._own_prices)
        if family is None or not count:
            return []
        shares_fabric = catalogue.family_name(product).endswith(catalogue.FABRICS)
        return [
            Offer(
                provider=self._name,
                region=location,
                zone=None,
                instance_type=product,
                gpu_model=family.gpu_model,
                gpu_count=count,
                gpu_memory_gib=family.gpu_memory_gib,
                cpus=kind["cpu_cores"],
                memory_gib=float(kind["memory_gb"]),
                price_usd_per_hour=round(family.usd_per_gpu_hour * count, 4),
                capacity=quantity,
                fabric_domain=self._partitions.get(location) if shares_fabric else None,
                seen_at=self._clock.now(),
                source="catalogue",
            )
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        token, owner = tags.marks_of(row["name"])
        product, word = row["type"], row["state"].removeprefix("STATE_")
        family = catalogue.family_of(product, "", self._own_prices)
        count = product.rpartition(".")[2].removesuffix("x")
        price = round(family.usd_per_gpu_hour * int(count), 4) if family and count.isdecimal() else 0.0
        return Instance(
            InstanceId(row["id"]), self._name, STATES.get(word, InstanceState.UNKNOWN), row["location"], None, product,
            token, owner, row.get("billing_type") == "Spot", price, instant_of(row["created_at"]), word,
        )  # fmt: skip

    def _first_key(self) -> str:
        answer = self._rest.ask("GET", "/v1/users/ssh-keys")
        keys = self._rest.parse(lambda: [str(key["public_key"]) for key in answer["items"]])
        if not keys:
            raise errors.RequestRejected(f"{self._name}: Crusoe wants an SSH public key, and the user has none")
        return keys[0]
