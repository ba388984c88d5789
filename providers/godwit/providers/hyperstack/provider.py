"""The adapter to Hyperstack's REST API (Infrahub API 1.0, read in August 2026).

Stops, starts and hibernations are GET requests there, so nothing but the paths below may be read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from godwit.domain import errors, gpu_names
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing
from godwit.providers.rest import Rest, instant_of, said

URL = "https://infrahub-api.nexgencloud.com"

STATES: Mapping[str, InstanceState] = {
    "CREATING": InstanceState.PROVISIONING,
    "BUILD": InstanceState.PROVISIONING,
    "STARTING": InstanceState.PROVISIONING,
    "REBOOTING": InstanceState.PROVISIONING,
    "HARD_REBOOT": InstanceState.PROVISIONING,
    "RESTORING": InstanceState.PROVISIONING,
    "ACTIVE": InstanceState.RUNNING,
    "STOPPING": InstanceState.STOPPING,
    "HIBERNATING": InstanceState.STOPPING,
    "DELETING": InstanceState.STOPPING,
    "SHUTOFF": InstanceState.STOPPED,  # billed in full
    "HIBERNATED": InstanceState.STOPPED,
    "ERROR": InstanceState.FAILED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

ERRORS: Sequence[tuple[re.Pattern[str], type[errors.ProviderError]]] = (
    (re.compile(r"currently being created|creation process"), errors.ProviderUnavailable),  # to delete: later
    (re.compile(r"\bstock\b|\bcapacity\b", re.IGNORECASE), errors.NoCapacity),
    (re.compile(r"\bquota\b|limit exceeded|\bcredit\b|\bbalance\b", re.IGNORECASE), errors.QuotaExceeded),
)
"""Words in `message`: `error_reason` is "bad_request" for all of these. Others go by their HTTP status."""

DEFAULT_IMAGE = "Ubuntu Server 22.04 LTS R535 CUDA 12.2"
PAGE_SIZE = 100
SPOT = "-spot"
"""How the GPU's name of a spot flavor ends, in flavors, stocks and pricebook alike (seen in public answers of 2026)."""

CPU_RATES = (
    ("cpu", "vCPU (cpu-only-flavors)"),
    ("ram", "RAM (cpu-only-flavors)"),
    ("disk", "hypervisor-local-storage (cpu-only-flavors)"),
)
"""What a flavor without a GPU is priced by: its field and the pricebook's name. With GPUs, only those are priced."""

MEMORY_GIB: Mapping[str, float] = {
    "L40": 48.0, "RTX-A4000": 16.0, "RTX-A5000": 24.0, "RTX-A6000": 48.0, "RTX-PRO6000-SE": 96.0, "B200": 180.0,
    "B300": 270.0,
}  # fmt: skip
"""GPUs whose name does not tell their memory, as NVIDIA's data sheets do (2026-08)."""


@dataclass(frozen=True)
class _Cursor:
    """Where a listing stands: the next page, how many rows came, and the total that the pages before told."""

    page: int
    seen: int
    total: int


class HyperstackProvider:
    """A `Provider` over one account. Deleted machines leave its list, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._environments: Mapping[str, str] = setup.options.get("environments", {})
        self._ssh_key: str | None = setup.options.get("ssh_key")
        self._image = str(setup.options.get("image", DEFAULT_IMAGE))
        url = str(setup.options.get("url", URL))
        self._rest = Rest(
            setup.name,
            url,
            headers={"api_key": setup.secrets.get("api_key", "")},
            refuse=self._refuse,
            timeout_s=setup.seconds("timeout_s", 20.0),
            trust_env=url == URL,
        )

    def __repr__(self) -> str:
        return f"HyperstackProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Spot flavors. The limit of user data is not published: this is a quarter of what OpenStack below takes."""
        return Capabilities(spot=True, volumes=True, startup_limit_bytes=16_384, billing_step_s=60.0)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """Read the environments, which launching needs. Quotas are told nowhere in one read."""
        answer = self._rest.ask("GET", "/v1/core/environments")
        names = self._rest.parse(lambda: sorted(row["name"] for row in answer["environments"]))
        return Standing(f"environments {', '.join(names) or 'none yet'}", ("read",))

    def offers(self) -> Sequence[Offer]:
        """One offer per flavor in stock that the pricebook has a price for, with how many of its size are left."""
        flavors = self._rest.ask("GET", "/v1/core/flavors")
        book = self._rest.ask("GET", "/v1/pricebook")
        stocks = self._rest.ask("GET", "/v1/core/stocks")
        return self._rest.parse(lambda: self._in_stock(flavors, _prices(book), _left(stocks)))

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine. Its name is the token, and a second of that name is refused."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        offer = request.offer
        environment = self._environments.get(offer.region, f"default-{offer.region}")
        body = {
            "name": request.token[:50],
            "environment_name": environment,
            "image_name": self._image,
            "flavor_name": offer.instance_type,
            "key_name": self._ssh_key or self._first_key(environment),
            "count": 1,
            "assign_floating_ip": True,  # the way out: agents dial the control plane
            "user_data": request.startup_script,
            "labels": [f"{tags.TOKEN}-{request.token}", f"{tags.OWNER}-{request.owner}"],
        }
        answer = self._rest.ask(
            "POST", "/v1/core/virtual-machines", launching=True, json=body, refuse=self._refuse_launch
        )
        instance_id = self._rest.parse(lambda: InstanceId(str(int(answer["instances"][0]["id"]))), launching=True)
        return Instance(
            instance_id, self._name, InstanceState.PROVISIONING, offer.region, None, offer.instance_type,
            request.token, request.owner, offer.spot, offer.price_usd_per_hour, self._clock.now(), "CREATING",
        )  # fmt: skip

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account, oldest first. The list tells no prices."""
        rows = self._rest.pages(self._page)
        return self._rest.parse(lambda: [self._instance(row) for row in rows])

    def terminate(self, instance_id: InstanceId) -> None:
        """Delete a machine; an unknown one is no error, and one that is being created says `ProviderUnavailable`."""
        if instance_id.isdecimal():  # Hyperstack's own ids are numbers
            self._rest.ask("DELETE", f"/v1/core/virtual-machines/{instance_id}", missing_is_fine=True)

    def _page(self, cursor: _Cursor | None) -> tuple[list[dict[str, Any]], _Cursor | None]:
        """One page. Pages go by number, so a machine that leaves meanwhile would hide another: then it is refused."""
        at = cursor or _Cursor(1, 0, -1)
        answer = self._rest.ask(
            "GET", "/v1/core/virtual-machines", params={"page": at.page, "pageSize": PAGE_SIZE}
        )  # fmt: skip
        rows, total = self._rest.parse(lambda: (list(answer["instances"]), int(answer["count"])))
        seen = at.seen + len(rows)
        if (cursor is not None and total != at.total) or (not rows and seen < total):
            raise errors.ProviderUnavailable(f"{self._name}: the list of machines changed while it was read")
        return rows, _Cursor(at.page + 1, seen, total) if seen < total else None

    def _in_stock(
        self, flavors: Mapping[str, Any], prices: Mapping[str, float], left: Mapping[Any, int]
    ) -> list[Offer]:
        rows = (flavor for group in flavors["data"] for flavor in group["flavors"] if flavor["stock_available"])
        return [offer for row in rows for offer in self._offer(row, prices, left)]

    def _offer(self, flavor: Mapping[str, Any], prices: Mapping[str, float], left: Mapping[Any, int]) -> list[Offer]:
        gpu, count = flavor["gpu"] or "", flavor["gpu_count"]
        chip, spot = gpu.removesuffix(SPOT), gpu.endswith(SPOT)
        rates = [(count, gpu)] if gpu else [(flavor[field], name) for field, name in CPU_RATES]
        if any(name not in prices for _amount, name in rates):
            return []
        return [
            Offer(
                provider=self._name,
                region=flavor["region_name"],
                zone=None,
                instance_type=flavor["name"],
                gpu_model=(gpu_names.normalise(chip, _memory_gib(chip)) or chip) if count else None,
                gpu_count=count,
                gpu_memory_gib=_memory_gib(chip),
                cpus=flavor["cpu"],
                memory_gib=float(flavor["ram"]),
                price_usd_per_hour=round(sum(amount * prices[name] for amount, name in rates), 6),
                spot=spot,
                capacity=left.get((flavor["region_name"], gpu, f"{count}x")),
                seen_at=self._clock.now(),
            )
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        flavor, labels = row["flavor"], row.get("labels") or []
        return Instance(
            InstanceId(str(row["id"])), self._name, STATES.get(row["status"], InstanceState.UNKNOWN),
            row["environment"]["region"], None, flavor["name"], _mark(labels, tags.TOKEN), _mark(labels, tags.OWNER),
            (flavor.get("gpu") or "").endswith(SPOT), 0.0, instant_of(row["created_at"]), row["status"],
        )  # fmt: skip

    def _first_key(self, environment: str) -> str:
        answer = self._rest.ask("GET", "/v1/core/keypairs", params={"pageSize": str(PAGE_SIZE)})
        keys = self._rest.parse(
            lambda: [str(k["name"]) for k in answer["keypairs"] if k["environment"]["name"] == environment]
        )
        if not keys:
            raise errors.RequestRejected(f"{self._name}: Hyperstack wants a key pair, and {environment} has none")
        return keys[0]

    def _refuse(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        del headers
        message = f"{self._name} answered {status}: {said(body)}"
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
            return None  # words of a broken answer promise nothing
        known = next((error for words, error in ERRORS if words.search(body["message"])), None)
        return None if known is None else known(message)

    def _refuse_launch(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        del headers
        if status != httpx.codes.CONFLICT:
            return None
        return errors.UnknownOutcome(f"{self._name} has a machine of this token's name already: {said(body)}")


def _prices(book: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Dollars per hour by the pricebook's names. Values come as texts; a zero is a price that is not set."""
    return {row["name"]: float(row["value"]) for row in book if row.get("value") and float(row["value"]) > 0}


def _left(stocks: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
    """How many machines are left by region, GPU and size ("8x"); totals are texts such as "100+", sizes are not."""
    return {
        (stock["region"], model["model"], size): int(left)
        for stock in stocks["stocks"]
        for model in stock["models"]
        for size, left in (model.get("configurations") or {}).items()
        if left is not None
    }


def _mark(labels: Sequence[str], key: str) -> str | None:
    return next((label.removeprefix(f"{key}-") for label in labels if label.startswith(f"{key}-")), None)


def _memory_gib(gpu: str) -> float:
    told = re.search(r"-(\d+)G\b", gpu)
    return float(told[1]) if told else MEMORY_GIB.get(gpu, 0.0)
