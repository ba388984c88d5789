"""The adapter to Vast.ai's REST API (its API reference of August 2026).

An offer is one machine of one host: its zone is `<machine>-<ask>`, where the ask is what Vast sells, gone once
it is sold. A machine is a container; its startup script is Vast's `onstart`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from godwit.domain import errors, gpu_names
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing, StartupHook
from godwit.providers.rest import Rest, said

URL = "https://console.vast.ai"

STATES: Mapping[str | None, InstanceState] = {
    None: InstanceState.PROVISIONING,
    "created": InstanceState.PROVISIONING,
    "loading": InstanceState.PROVISIONING,
    "running": InstanceState.RUNNING,
    "stopped": InstanceState.STOPPED,
    "exited": InstanceState.FAILED,
    # Vast lost touch with the host; its processes may run on, so this is not the end of anything.
    "offline": InstanceState.UNKNOWN,
    "unknown": InstanceState.UNKNOWN,
}
"""Vast's `actual_status`; a word that is not here is `UNKNOWN`."""

ERRORS: Sequence[tuple[str, type[errors.ProviderError]]] = (
    ("no_such_ask", errors.NoCapacity),  # sold, or taken off the market, since it was listed
    ("invalid_price", errors.NoCapacity),  # the bid does not win any more
    ("insufficient_credit", errors.QuotaExceeded),
    ("lacks credit", errors.QuotaExceeded),
    ("auth_error", errors.CredentialsRejected),
    ("Invalid user key", errors.CredentialsRejected),  # a search answers a wrong key with 404
    ("no_ssh_key_for_vm", errors.RequestRejected),
)
"""Words in `error` or `msg`, the first that is found. Others go by their HTTP status: "invalid_args" stands for all."""

UNKNOWN_MACHINE = ("no_such_instance", "not_found")

RETRY_AFTER_S = 3.0
"""Vast sends no Retry-After; a 429 often names the endpoint's interval ("threshold=4.5"), and this is a usual one."""

DEFAULT_IMAGE = "vastai/base-image:@vastai-automatic-tag"
PAGE_SIZE = 25
"""The most that a page of the listing holds."""

SEARCH_SIZE = 5_000
"""Asks per search; the market had some thousands in 2026. Without a limit Vast cuts the answer short."""

_TYPE = re.compile(r"\d+x-.+")


class CreatedAnyway(errors.UnknownOutcome):
    """The launch was refused, but left a machine that is billed."""

    def __init__(self, message: str, instance_id: InstanceId, reason: type[errors.ProviderError]) -> None:
        super().__init__(message)
        self.instance_id, self.reason = instance_id, reason


class VastProvider:
    """A `Provider` over one account. Destroyed machines leave its list, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._image = str(setup.options.get("image", DEFAULT_IMAGE))
        self._disk_gib = setup.positive("disk_gib", 100.0)
        self._reliability_min = setup.positive("reliability_min", 0.98)
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
        return f"VastProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Spot by bidding. No fabric between hosts; volumes never leave their host. `onstart` is cut at 4,048."""
        return Capabilities(spot=True, startup=StartupHook.CONTAINER, startup_limit_bytes=4_048, billing_step_s=1.0)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """Read the user; the balance in dollars is what is left to spend."""
        user = self._rest.ask("GET", "/api/v0/users/current/")
        return self._rest.parse(
            lambda: Standing(f"user {user['id']}", ("read",), (Quota("balance_usd", None, user.get("balance")),))
        )

    def offers(self) -> Sequence[Offer]:
        """Every ask of verified hosts, on demand and, where the host takes bids, as spot at the least bid."""
        rows = self._rest.pages(self._asks)
        return self._rest.parse(lambda: [offer for row in rows for offer in self._offers(row)])

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine. What a refused launch leaves behind is destroyed here, or stays an unknown outcome."""
        offer = request.offer
        ask_id = (offer.zone or "").rpartition("-")[2]
        if not ask_id.isdecimal() or not _TYPE.fullmatch(offer.instance_type):
            raise errors.RequestRejected(f"{self._name}: {offer.key} is not an offer of Vast.ai")
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        try:
            instance_id = self._bought(f"/api/v0/asks/{ask_id}/", self._order(request))
        except CreatedAnyway as created:
            raise self._undone(created) from created
        return Instance(
            instance_id, self._name, InstanceState.PROVISIONING, offer.region, offer.zone, offer.instance_type,
            request.token, request.owner, offer.spot, offer.price_usd_per_hour, self._clock.now(), "created",
        )  # fmt: skip

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account, in pages of 25."""
        rows = self._rest.pages(self._page)
        return self._rest.parse(lambda: [self._instance(row) for row in rows])

    def terminate(self, instance_id: InstanceId) -> None:
        """Destroy a machine and its disk; an unknown one is no error. Vast's own ids are numbers."""
        if not instance_id.isdecimal():
            return
        try:
            self._rest.ask("DELETE", f"/api/v0/instances/{instance_id}/")
        except errors.RequestRejected as rejected:
            if not any(word in rejected.message for word in UNKNOWN_MACHINE):
                raise

    def _bought(self, path: str, order: Mapping[str, Any]) -> InstanceId:
        answer = self._rest.ask("PUT", path, launching=True, json=order)
        if isinstance(answer, Mapping) and answer.get("success") is False:
            raise self._refuse(httpx.codes.OK, answer, httpx.Headers()) or errors.UnknownOutcome(
                f"{self._name} refused a launch and did not say whether it left a machine: {said(answer)}"
            )
        return self._rest.parse(lambda: InstanceId(str(int(answer["new_contract"]))), launching=True)

    def _undone(self, created: CreatedAnyway) -> errors.ProviderError:
        """What a launch came to that was refused with a machine left behind; the machine is destroyed."""
        try:
            self.terminate(created.instance_id)
        except errors.ProviderError:
            return created  # it is still there: its label has our token, by which the caller finds it
        return created.reason(f"{created.message}; machine {created.instance_id}, left by it, was destroyed")

    def _asks(self, after: int | None) -> tuple[list[dict[str, Any]], int | None]:
        """One search. The API has no cursor, so further ones ask for higher ids; its description wants two orders."""
        body = {
            "type": "ondemand", "verified": {"eq": True}, "rentable": {"eq": True}, "rented": {"eq": False},
            "reliability": {"gte": self._reliability_min}, "disk_space": {"gte": self._disk_gib},
            "allocated_storage": self._disk_gib, "order": [["id", "asc"], ["dph_total", "asc"]], "limit": SEARCH_SIZE,
            "id": {"gt": after or 0},
        }  # fmt: skip
        answer = self._rest.ask("POST", "/api/v0/bundles/", json=body)
        rows = self._rest.parse(lambda: list(answer["offers"]))
        more = len(rows) >= SEARCH_SIZE
        return rows, self._rest.parse(lambda: max(int(row["id"]) for row in rows)) if more else None

    def _page(self, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
        params = {"limit": PAGE_SIZE, "order_by": '[{"col":"id","dir":"asc"}]'}
        answer = self._rest.ask("GET", "/api/v1/instances/", params=params | ({"after_token": after} if after else {}))
        return self._rest.parse(lambda: (list(answer["instances"]), answer.get("next_token")))

    def _order(self, request: LaunchRequest) -> dict[str, Any]:
        order = {
            "image": self._image,
            "disk": self._disk_gib,
            "runtype": "ssh",
            "label": tags.name_of(request.token, request.owner),
            "onstart": request.startup_script,
            "target_state": "running",
            # Without it a machine that cannot start now is kept, stopped and billed for its disk.
            "cancel_unavail": True,
        }
        return order | ({"price": round(request.offer.price_usd_per_hour, 4)} if request.offer.spot else {})

    def _offers(self, row: Mapping[str, Any]) -> list[Offer]:
        prices = [(False, float(row["dph_total"]))]
        if row.get("min_bid"):
            # The bid that we shall make is this whole price, disk included: a little over the least that is taken.
            prices.append((True, float(row["min_bid"]) + max(0.0, row["dph_total"] - row["dph_base"])))
        gpu_memory_gib = row["gpu_ram"] / 1024
        # Memory is the host's; an offer of some of its GPUs gets the same share of it as of the cores.
        share = min(1.0, row["cpu_cores_effective"] / row["cpu_cores"]) if row.get("cpu_cores") else 1.0
        return [
            Offer(
                provider=self._name,
                region=_country(row.get("geolocation")),
                zone=f"{row['machine_id']}-{row['id']}",
                instance_type=_type(row),
                gpu_model=gpu_names.normalise(row["gpu_name"], gpu_memory_gib) or row["gpu_name"],
                gpu_count=row["num_gpus"],
                gpu_memory_gib=round(gpu_memory_gib, 1),
                cpus=int(row["cpu_cores_effective"]),
                memory_gib=round(row["cpu_ram"] / 1024 * share, 1),
                price_usd_per_hour=round(price, 4),
                spot=spot,
                capacity=1,
                seen_at=self._clock.now(),
            )
            for spot, price in prices
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        token, owner = tags.marks_of(row.get("label") or "")
        state, detail = _state(row)
        return Instance(
            InstanceId(str(row["id"])), self._name, state, _country(row.get("geolocation")), str(row["machine_id"]),
            _type(row), token, owner, bool(row.get("is_bid")), round(row["dph_total"], 4),
            float(row.get("start_date") or 0.0), detail,
        )  # fmt: skip

    def _refuse(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        del headers
        words = body if isinstance(body, str) else f"{body.get('error') or ''}: {said(body)}" if body else ""
        message = f"{self._name} answered {status}: {said(words)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            told = re.search(r"threshold=(\d+(?:\.\d+)?)", words)
            return errors.RateLimited(message, float(told[1]) if told else RETRY_AFTER_S)
        # Words of a broken answer promise nothing, but a machine that it names is there.
        broken = status >= httpx.codes.INTERNAL_SERVER_ERROR
        known = None if broken else next((error for word, error in ERRORS if word in words), None)
        if isinstance(body, Mapping) and body.get("new_contract"):
            return CreatedAnyway(message, InstanceId(str(int(body["new_contract"]))), known or errors.NoCapacity)
        return None if known is None else known(message)


def _type(row: Mapping[str, Any]) -> str:
    return f"{row['num_gpus']}x-{row['gpu_name'].replace(' ', '_')}"


def _country(geolocation: str | None) -> str:
    """The last part of "Norway, NO"."""
    return (geolocation or "").rpartition(",")[2].strip() or "anywhere"


def _state(row: Mapping[str, Any]) -> tuple[InstanceState, str]:
    """What Vast says of a machine; one that was outbid shows so in its contract, whatever its container shows."""
    status = row["actual_status"]
    if row.get("intended_status") == row.get("cur_state") == row.get("next_state") == "stopped":
        return InstanceState.STOPPED, f"outbid or stopped ({status})"
    return STATES.get(status, InstanceState.UNKNOWN), status or "created"
