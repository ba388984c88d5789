"""The adapter to RunPod's REST API (version 2.0.0, read in August 2026)."""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
from godwit.domain import errors, gpu_names
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing, StartupHook
from godwit.providers.rest import Rest, said

URL = "https://api.runpod.io"

STATES: Mapping[str, InstanceState] = {
    "PROVISIONING": InstanceState.PROVISIONING,
    "STARTING": InstanceState.PROVISIONING,
    "RUNNING": InstanceState.RUNNING,
    "EXITED": InstanceState.STOPPED,  # its disk is billed, at twice the rate
    "ERROR": InstanceState.FAILED,
    "TERMINATED": InstanceState.TERMINATED,
}
"""The vendor's words; one that is not here is `UNKNOWN`."""

LAUNCH_STATUSES: Mapping[int, type[errors.ProviderError]] = {
    402: errors.QuotaExceeded,  # the account's balance is used up
    403: errors.QuotaExceeded,  # "your account cannot access the requested pool": other pools go on
    404: errors.RequestRejected,
    422: errors.RequestRejected,
}
"""What a refused launch means, from the table in the description of the call."""

LAUNCH_WORDS: Sequence[tuple[str, type[errors.ProviderError]]] = (
    ("spend", errors.QuotaExceeded),  # the account's spending limit per hour
    ("balance", errors.QuotaExceeded),
    ("invalid", errors.RequestRejected),
    ("must ", errors.RequestRejected),
    ("required", errors.RequestRejected),
    ("exclusive", errors.RequestRejected),
    ("not supported", errors.RequestRejected),
    ("unknown", errors.RequestRejected),
)
"""A launch answered 400 either breaks a rule or finds no room, and only its text tells which. The vendor's advice is to
try the next candidate, so a text without any of these words means no capacity."""

COUNTS = (1, 2, 4, 8)
"""The sizes asked for: availability is told for one number of GPUs per call."""

HOSTS: Mapping[str, tuple[int, float]] = {
    "NVIDIA A100 80GB PCIe": (8, 117.0),
    "NVIDIA B200": (28, 180.0),
    "NVIDIA H100 80GB HBM3": (20, 125.0),
    "NVIDIA H100 NVL": (16, 94.0),
    "NVIDIA H100 PCIe": (16, 176.0),
}
"""CPUs and GiB of memory that come with each GPU, which the API does not tell (SkyPilot's catalogue v8 for RunPod, read
in 2026). A type that is not here is offered with none: a job that asks for CPUs is not placed on a guess."""

IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"

SCRIPT = "GODWIT_STARTUP"
STARTUP_LIMIT_BYTES = 65_536
"""RunPod documents no limit; Linux's on one environment variable is 131,072 bytes, and base64 makes 4 of every 3."""

_FILE = "/tmp/startup"  # noqa: S108 - in a fresh container of one's own nobody else can have made it
_STEPS = (
    f"(umask 077;printenv {SCRIPT}|base64 -d>{_FILE})", f"unset {SCRIPT}", f"chmod +x {_FILE}", _FILE,
    "exec sleep infinity",
)  # fmt: skip
START = f"sh -c '{';'.join(_STEPS)}'"
"""A pod ends with its first process, so that one stays when the script is through. The script holds a join token: it
travels in the environment, since arguments show in process lists."""

_COMMUNITY = " (community)"


class RunPodProvider:
    """A `Provider` over one account. Terminated pods leave its list, so absent means gone.

    An instance type is "8x NVIDIA H100 80GB HBM3": how many of which of RunPod's GPU types, in one machine.
    """

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._clouds = _clouds(setup)
        self._image = str(setup.options.get("image", IMAGE))
        self._disk_gb = math.ceil(setup.positive("disk_gb", 100))
        url = str(setup.options.get("url", URL))
        self._rest = Rest(
            setup.name,
            url,
            headers={"Authorization": f"Bearer {setup.secrets.get('api_key', '')}"},
            timeout_s=setup.seconds("timeout_s", 20.0),
            trust_env=url == URL,
        )

    def __repr__(self) -> str:
        return f"RunPodProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """No spot in version 2 of the API; a fabric only inside RunPod's own clusters, which this does not buy."""
        return Capabilities(volumes=True, startup=StartupHook.CONTAINER, startup_limit_bytes=STARTUP_LIMIT_BYTES)

    def close(self) -> None:
        """Close its connections."""
        self._rest.close()

    def check(self) -> Standing:
        """List the pods. The API tells neither the account's name nor its balance."""
        return Standing(f"an account with {len(self.instances())} pods", ("read",))

    def offers(self) -> Sequence[Offer]:
        """One offer per GPU type, size and data centre that has some now; of the stock only its level is told.

        Sizes are 1, 2, 4 and 8 GPUs, as far as RunPod has such machines.
        """
        return [offer for cloud in self._clouds for count in COUNTS for offer in self._offers(cloud, count)]

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one pod; RunPod does not recognise a repeated call. The price is what RunPod bills: it moves in minutes.

        The data centre is a wish, and the listing tells where the pod is.
        """
        script, offer = request.startup_script.encode(), request.offer
        if len(script) > STARTUP_LIMIT_BYTES:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        cloud, count, gpu_type = self._parts(offer.instance_type)
        body = {
            "name": tags.name_of(request.token, request.owner),
            "cloud": cloud,
            "gpu": {"id": gpu_type, "count": count},
            "dataCenterIds": [offer.region],
            "image": self._image,
            "disk": self._disk_gb,
            "args": START,
            "env": {SCRIPT: base64.b64encode(script).decode()},
        }
        row = self._rest.ask("POST", "/v2/pods", launching=True, json=body, refuse=self._refuse_launch)
        return self._rest.parse(lambda: self._instance(row), launching=True)

    def instances(self) -> Sequence[Instance]:
        """Every pod of the account; the API answers them in one piece, those of clusters only when asked to."""
        answer = self._rest.ask("GET", "/v2/pods", params={"includeClusterPods": "true"})
        return self._rest.parse(lambda: [self._instance(row) for row in answer["pods"]])

    def terminate(self, instance_id: InstanceId) -> None:
        """End a pod; an unknown one is no error, one of a cluster (never ours) is rejected."""
        self._rest.ask("DELETE", f"/v2/pods/{quote(instance_id, safe='')}", missing_is_fine=True)

    def _offers(self, cloud: str, count: int) -> list[Offer]:
        asked = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud}
        answer = self._rest.ask("GET", "/v2/catalog/gpus", params=asked)
        return self._rest.parse(
            lambda: [offer for row in answer["gpus"] for offer in self._places(row, cloud, cloud.lower(), count)]
        )

    def _places(self, row: Mapping[str, Any], cloud: str, key: str, count: int) -> list[Offer]:
        """The offers of one GPU type: none when it is not sold there in that size."""
        if not row[key] or row["maxCount"][key] < count:
            return []
        cpus, memory_gib = HOSTS.get(row["id"], (0, 0.0))
        return [
            Offer(
                provider=self._name,
                region=place["id"],
                zone=None,
                instance_type=f"{count}x {row['id']}{_COMMUNITY if cloud == 'COMMUNITY' else ''}",
                gpu_model=gpu_names.normalise(row["id"], row["memory"]) or row["name"],
                gpu_count=count,
                gpu_memory_gib=float(row["memory"]),
                cpus=cpus * count,
                memory_gib=memory_gib * count,
                price_usd_per_hour=round(row["price"][key] * count, 4),
                seen_at=self._clock.now(),
            )
            for place in row.get("dataCenters") or []
            if place["availability"] != "NONE"
        ]

    def _instance(self, row: Mapping[str, Any]) -> Instance:
        token, owner = tags.marks_of(row["name"])
        suffix = _COMMUNITY if row["cloud"] == "COMMUNITY" else ""
        gpu = row.get("gpu")
        instance_type = f"{gpu.get('count', 1)}x {gpu['id']}{suffix}" if gpu else "CPUs only"
        return Instance(
            InstanceId(row["id"]), self._name, STATES.get(row["status"], InstanceState.UNKNOWN),
            row["dataCenterId"] or "", None, instance_type, token, owner, False, row["cost"],
            datetime.fromisoformat(row["createdAt"]).timestamp(), row["status"],
        )  # fmt: skip

    def _parts(self, instance_type: str) -> tuple[str, int, str]:
        """Cloud, number and type of GPUs behind an instance type of ours."""
        name = instance_type.removesuffix(_COMMUNITY)
        count, found, gpu_type = name.partition("x ")
        if not found or not count.isdecimal():
            raise errors.RequestRejected(f"{self._name}: {instance_type!r} is no instance type of RunPod's")
        return ("SECURE" if name == instance_type else "COMMUNITY"), int(count), gpu_type

    def _refuse_launch(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        del headers
        message = f"{self._name} refused the launch ({status}): {said(body)}"
        if status in LAUNCH_STATUSES:
            return LAUNCH_STATUSES[status](message)
        if status != httpx.codes.BAD_REQUEST:
            return None
        text = body["detail"].lower()
        return next((error for words, error in LAUNCH_WORDS if words in text), errors.NoCapacity)(message)


def _clouds(setup: Setup) -> Sequence[str]:
    given = setup.options.get("clouds", ["SECURE"])
    known = ("SECURE", "COMMUNITY")
    if not isinstance(given, list) or not given or any(cloud not in known for cloud in given):
        what = f"clouds must be a list of {' and '.join(known)}, not {given!r}"
        raise errors.InvalidRequest(problems=[errors.Problem(("clouds",), what, known)])
    return given
