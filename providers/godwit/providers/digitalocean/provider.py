"""The adapter to DigitalOcean's REST API (version 2, read in August 2026)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
from godwit.domain import errors, gpu_names
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import rest, tags
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing
from godwit.providers.rest import Rest

URL = "https://api.digitalocean.com"

STATES: Mapping[str, InstanceState] = {
    "new": InstanceState.PROVISIONING,
    "active": InstanceState.RUNNING,
    "off": InstanceState.STOPPED,  # billed in full
    "archive": InstanceState.TERMINATED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

WORDS: Sequence[tuple[str, type[errors.ProviderError]]] = (
    ("pending event", errors.ProviderUnavailable),  # the droplet is busy, with its own creation for one: ask again
    ("image", errors.RequestRejected),  # one that is "not available in the selected region" is not about capacity
    ("droplet limit", errors.QuotaExceeded),
    ("currently restricted", errors.QuotaExceeded),
    ("not available", errors.NoCapacity),
    ("unavailable", errors.NoCapacity),
    ("capacity", errors.NoCapacity),
)
"""A 422 stands for bad input, limits and missing capacity alike, and only its text differs; the first that fits counts,
and a text without any of these words means bad input."""

KINDS_OF_DROPLET = ("gpus", "droplets")
"""A listing has either the one or the other, and only the ones without GPUs when it is not told which."""

PAGE = 200
"""The largest page there is."""

STARTUP_LIMIT_BYTES = 65_536
"""`user_data` may hold 64 KiB."""

_SPOT = "-spot"


class DigitalOceanProvider:
    """A `Provider` over one team's GPU droplets. Destroyed droplets leave the list, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._image: str | None = setup.options.get("image")
        given = setup.options.get("ssh_key")
        self._ssh_keys: list[Any] | None = None if given is None else [given]
        url = str(setup.options.get("url", URL))
        self._rest = Rest(
            setup.name,
            url,
            headers={"Authorization": f"Bearer {setup.secrets.get('token', '')}"},
            refuse=self._refuse,
            timeout_s=setup.seconds("timeout_s", 20.0),
            trust_env=url == URL,
        )

    def __repr__(self) -> str:
        return f"DigitalOceanProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Spot is a public preview; the fabric of the largest machines does not show in the API."""
        return Capabilities(spot=True, volumes=True, startup_limit_bytes=STARTUP_LIMIT_BYTES)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """Read the account. How many GPUs it may have is not told, nor how many droplets it has."""
        answer = self._rest.ask("GET", "/v2/account")
        account = self._rest.parse(lambda: dict(answer["account"]))
        if account.get("status") == "locked":
            message = f"{self._name}: DigitalOcean locked the account: {rest.said(account.get('status_message'))}"
            raise errors.CredentialsRejected(message)
        limit = account.get("droplet_limit")  # missing when the token may not read droplets
        name = (account.get("team") or {}).get("name") or account.get("email", "")
        return Standing(name, ("read",), () if limit is None else (Quota("droplets", limit, None),))

    def offers(self) -> Sequence[Offer]:
        """One offer per size with GPUs and region where it can be had now; how many is not told."""
        rows = self._all("/v2/sizes", "sizes")
        return self._rest.parse(lambda: [offer for row in rows for offer in self._offers(row)])

    def launch(self, request: LaunchRequest) -> Instance:
        """Ask for one droplet; DigitalOcean does not recognise a repeated call.

        Acceptance is no promise: a creation that fails later leaves the list again.
        """
        if len(request.startup_script.encode()) > STARTUP_LIMIT_BYTES:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        offer = request.offer
        body = {
            "name": tags.name_of(request.token, request.owner),
            "region": offer.region,
            "size": offer.instance_type,
            "image": self._image or _image(offer),
            "ssh_keys": self._keys(),
            "user_data": request.startup_script,
            "tags": [f"{tags.TOKEN}:{request.token}", f"{tags.OWNER}:{request.owner}"],
        }
        answer = self._rest.ask("POST", "/v2/droplets", launching=True, json=body)
        return self._rest.parse(lambda: self._instance(answer["droplet"]), launching=True)

    def instances(self) -> Sequence[Instance]:
        """Every droplet of the team, with GPUs and without."""
        rows = [row for kind in KINDS_OF_DROPLET for row in self._all("/v2/droplets", "droplets", type=kind)]
        found = self._rest.parse(lambda: [self._instance(row) for row in rows])
        # Pages are numbered, so a droplet made meanwhile pushes another onto the next page: it is seen twice.
        return list({instance.id: instance for instance in found}.values())

    def terminate(self, instance_id: InstanceId) -> None:
        """Destroy a droplet; an unknown one is no error. One that is being built is refused: ask again later."""
        if instance_id.isdecimal():  # nothing else is a droplet's
            self._rest.ask("DELETE", f"/v2/droplets/{instance_id}", missing_is_fine=True)

    def _all(self, path: str, key: str, **asked: str) -> list[dict[str, Any]]:
        def page(number: int | None) -> tuple[list[dict[str, Any]], int | None]:
            current = number or 1
            answer = self._rest.ask("GET", path, params={**asked, "per_page": PAGE, "page": current})
            return self._rest.parse(lambda: (answer[key], current + 1 if _has_more(answer) else None))

        return self._rest.pages(page)

    def _offers(self, row: Mapping[str, Any]) -> list[Offer]:
        gpu = row.get("gpu_info")
        if not gpu or not row["available"]:
            return []
        memory_gib = gpu["vram"]["amount"] / gpu["count"]  # the size's, not the GPU's
        return [
            Offer(
                provider=self._name,
                region=region,
                zone=None,
                instance_type=row["slug"],
                gpu_model=gpu_names.normalise(gpu["model"], memory_gib) or gpu["model"],
                gpu_count=gpu["count"],
                gpu_memory_gib=memory_gib,
                cpus=row["vcpus"],
                memory_gib=row["memory"] / 1024,
                price_usd_per_hour=row["price_hourly"],
                spot=row["slug"].endswith(_SPOT),
                seen_at=self._clock.now(),
            )
            for region in row["regions"]
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        token, owner = _marks(row)
        slug = row["size_slug"]
        return Instance(
            InstanceId(str(row["id"])), self._name, STATES.get(row["status"], InstanceState.UNKNOWN),
            row["region"]["slug"], None, slug, token, owner, slug.endswith(_SPOT), row["size"]["price_hourly"],
            datetime.fromisoformat(row["created_at"]).timestamp(), row["status"],
        )  # fmt: skip

    def _keys(self) -> list[Any]:
        """Read once and kept: DigitalOcean answers ten such reads a minute."""
        if self._ssh_keys is None:
            answer = self._rest.ask("GET", "/v2/account/keys")
            self._ssh_keys = self._rest.parse(lambda: [key["id"] for key in answer["ssh_keys"][:1]])
        return self._ssh_keys

    def _refuse(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        message = f"{self._name} answered {status}: {rest.said(body)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return errors.RateLimited(message, self._pause_s(headers))
        if status != httpx.codes.UNPROCESSABLE_ENTITY:
            return None
        text = body["message"].lower()
        return next((error for words, error in WORDS if words in text), errors.RequestRejected)(message)

    def _pause_s(self, headers: httpx.Headers) -> float:
        """The limit per minute says how long; the one per hour says when the oldest call stops to count."""
        told = rest.retry_after_s(headers)
        return max(1.0, float(headers.get("ratelimit-reset", 0)) - self._clock.now() if told is None else told)


def _marks(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Token and owner: from the name, since tags come some time after the droplet, or else from the tags.

    A person can rename a droplet, and a token without the right to tags does not see them.
    """
    token, owner = tags.marks_of(row["name"])
    if token is None:
        found = dict(tag.split(":", 1) for tag in row.get("tags") or [] if ":" in tag)
        token, owner = found.get(tags.TOKEN), found.get(tags.OWNER)
    return token, owner


def _image(offer: Offer) -> str:
    """DigitalOcean's own image with the drivers of such a machine (its documentation of GPU droplets, 2026-08)."""
    if (offer.gpu_model or "").startswith("MI"):
        return "gpu-amd-base"
    return "gpu-h100x8-base" if offer.gpu_count >= 8 else "gpu-h100x1-base"


def _has_more(answer: Mapping[str, Any]) -> bool:
    return "next" in ((answer.get("links") or {}).get("pages") or {})
