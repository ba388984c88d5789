"""The adapter to Amazon EC2 by boto3: on demand, spot, and capacity that is already reserved."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from godwit.domain import errors
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.aws import market, words
from godwit.providers.aws.clients import Clients
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing

Answer = TypeVar("Answer")

REGIONS = ("us-east-1",)
IMAGE = "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""NVIDIA's driver on Ubuntu, the newest in each region (AWS Deep Learning AMI release notes, 2026-10)."""

PRICE_TAG = "godwit-price"
"""What the machine cost an hour when it was bought: EC2's listing does not say."""

CLIENT_TOKEN_MAX = 64
PAGE_SIZE = 1_000

QUOTAS: Mapping[str, str] = {
    "L-417A185B": "vCPUs of P types on demand",
    "L-DB2E81BA": "vCPUs of G types on demand",
    "L-7212CCBC": "vCPUs of P2 to P4 types as spot",
    "L-C4BD4855": "vCPUs of P5 types as spot",
    "L-3819A6DF": "vCPUs of G types as spot",
}
"""Codes of the Service Quotas API for EC2 (Amazon EC2 instance type quotas, 2026-10)."""

_DRY_RUN = "DryRunOperation"
_PROBE_TYPE = "g4dn.xlarge"


class AwsProvider:
    """A `Provider` over the configured regions of one account. Ended machines are listed for about an hour."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._regions = _names(setup, "regions", REGIONS)
        self._image = str(setup.options.get("image", IMAGE))
        self._key_name: str | None = setup.options.get("key_name")
        self._subnets = _mapping(setup, "subnets")
        self._clients = Clients(setup.secrets, setup.options.get("url"), setup.seconds("timeout_s", 20.0))
        self._facts: dict[str, market.Facts] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"AwsProvider({self._name!r}, {self._regions})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Dedupes launches by client token; 16 KB of user data; billed by the second after a minute."""
        return Capabilities(spot=True, client_token=True, startup_limit_bytes=16_384, billing_least_s=60.0)

    def close(self) -> None:
        """Close its connections."""
        self._clients.close()

    def check(self) -> Standing:
        """Ask who we are, try to list and to launch without doing so, and read the quotas where that is allowed."""
        with words.translated(self._name):
            account = self._clients.of("sts", self._regions[0]).get_caller_identity()["Arn"]
            ec2 = self._clients.of("ec2", self._regions[0])
            probe = {"ImageId": self._image, "InstanceType": _PROBE_TYPE, "MinCount": 1, "MaxCount": 1}
            tries = {"list": lambda: ec2.describe_instances(DryRun=True),
                     "launch": lambda: ec2.run_instances(DryRun=True, **probe)}  # fmt: skip
            permitted = tuple(what for what, ask in tries.items() if _is_allowed(ask))
            quotas = [quota for region in self._regions for quota in self._quotas(region)]
        return Standing(account, permitted, tuple(quotas))

    def offers(self) -> Sequence[Offer]:
        """One offer per type and zone on demand, per type and zone as spot, and per reservation; stock is not told."""
        return self._everywhere(self._offers)

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine; the token is EC2's client token, so a repeated call answers the machine it bought."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds EC2's 16384 bytes")
        region = request.offer.region
        with words.translated(self._name):
            order = self._order(request)
        with words.translated(self._name, launching=True):
            answer = self._clients.of("ec2", region).run_instances(**order)
            return self._instance(region, answer["Instances"][0])

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account in the configured regions."""
        return self._everywhere(self._instances)

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask each region in turn: an id does not say where it belongs. Unknown in all of them is no error."""
        for region in self._regions:
            with words.translated(self._name):
                try:
                    self._clients.of("ec2", region).terminate_instances(InstanceIds=[instance_id])
                except ClientError as refused:
                    if words.code_of(refused) in words.NOT_FOUND:
                        continue
                    raise
                return

    def _everywhere(self, ask: Callable[[str], list[Answer]]) -> list[Answer]:
        """The answers of all regions, asked at the same time; one that fails fails the whole: it must be complete."""

        def translated(region: str) -> list[Answer]:
            with words.translated(self._name):
                return ask(region)

        if len(self._regions) == 1:
            return translated(self._regions[0])
        with ThreadPoolExecutor(min(8, len(self._regions))) as pool:
            return [row for rows in pool.map(translated, self._regions) for row in rows]

    def _offers(self, region: str) -> list[Offer]:
        now = self._clock.now()
        with self._lock:
            facts = self._facts.get(region)
        if facts is None or now - facts.seen_at > market.FACTS_KEPT_S:
            facts = market.read_facts(self._clients, self._name, region, now)
            with self._lock:
                self._facts[region] = facts
        return list(market.offers(self._clients, facts, region, now))

    def _instances(self, region: str) -> list[Instance]:
        pages = self._clients.of("ec2", region).get_paginator("describe_instances")
        return [
            self._instance(region, row)
            for page in pages.paginate(PaginationConfig={"PageSize": PAGE_SIZE})
            for reservation in page["Reservations"]
            for row in reservation["Instances"]
        ]

    def _order(self, request: LaunchRequest) -> dict[str, Any]:
        offer = request.offer
        kind, _, reservation = offer.instance_type.partition(market.RESERVED)
        marks = {tags.TOKEN: request.token, tags.OWNER: request.owner, "Name": request.token,
                 PRICE_TAG: repr(offer.price_usd_per_hour)}  # fmt: skip
        tagged = [{"Key": key, "Value": value} for key, value in marks.items()]
        order: dict[str, Any] = {
            "ImageId": self._image,
            "InstanceType": kind,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": _client_token(request.token),
            "UserData": request.startup_script,
            "TagSpecifications": [{"ResourceType": what, "Tags": tagged} for what in ("instance", "volume")],
            "MetadataOptions": {"HttpTokens": "required"},
            # A machine that powers itself off would else stay as stopped, with its disk on the bill.
            "InstanceInitiatedShutdownBehavior": "terminate",
        }
        subnet = self._subnets.get(offer.zone or "")
        order |= {"SubnetId": subnet} if subnet else {"Placement": {"AvailabilityZone": offer.zone}}
        if self._key_name:
            order["KeyName"] = self._key_name
        return order | self._market(reservation, request)

    def _market(self, reservation: str, request: LaunchRequest) -> dict[str, Any]:
        if request.offer.spot:
            once = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": once}}
        if not reservation:
            return {}
        target = {"CapacityReservationTarget": {"CapacityReservationId": reservation}}
        order: dict[str, Any] = {"CapacityReservationSpecification": target}
        described = self._clients.of("ec2", request.offer.region).describe_capacity_reservations(
            CapacityReservationIds=[reservation]
        )
        if described["CapacityReservations"][0].get("ReservationType") == "capacity-block":
            order["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
        return order

    def _instance(self, region: str, row: Mapping[str, Any]) -> Instance:
        marks = {tag["Key"]: tag["Value"] for tag in row.get("Tags", [])}
        word, reason = row["State"]["Name"], row.get("StateReason", {}).get("Code", "")
        state = words.STATES.get(word, InstanceState.UNKNOWN)
        ended = state not in (InstanceState.PROVISIONING, InstanceState.RUNNING)
        target = row.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
        reservation = target.get("CapacityReservationId")
        return Instance(
            id=InstanceId(row["InstanceId"]),
            provider=self._name,
            state=state,
            region=region,
            zone=row.get("Placement", {}).get("AvailabilityZone"),
            instance_type=row["InstanceType"] + (f"{market.RESERVED}{reservation}" if reservation else ""),
            token=marks.get(tags.TOKEN),
            owner=marks.get(tags.OWNER),
            spot=row.get("InstanceLifecycle") == "spot",
            price_usd_per_hour=_price(marks.get(PRICE_TAG)),
            created_at=row["LaunchTime"].timestamp(),
            detail=f"{word}: {reason}" if ended and reason else word,
        )

    def _quotas(self, region: str) -> list[Quota]:
        pages = self._clients.of("service-quotas", region).get_paginator("list_service_quotas")
        try:
            rows = [row for page in pages.paginate(ServiceCode="ec2") for row in page["Quotas"]]
        except ClientError as refused:
            if words.ERRORS.get(words.code_of(refused)) is errors.CredentialsRejected:
                return []  # who may launch need not be allowed to read quotas
            raise
        return [
            Quota(f"{region}: {QUOTAS[row['QuotaCode']]}", row["Value"], None)
            for row in rows
            if row["QuotaCode"] in QUOTAS
        ]


def _is_allowed(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except ClientError as refused:
        if words.code_of(refused) == "UnauthorizedOperation":
            return False
        if words.code_of(refused) != _DRY_RUN:
            raise
    return True


def _client_token(token: str) -> str:
    """The token as EC2 takes it: 64 ASCII characters at the most, so a longer one goes in as its digest."""
    fits = token.isascii() and len(token) <= CLIENT_TOKEN_MAX
    return token if fits else hashlib.sha256(token.encode()).hexdigest()


def _price(text: str | None) -> float:
    """The price in a tag; 0 for a machine of somebody else, or when a person has changed the tag."""
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


def _names(setup: Setup, option: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = setup.options.get(option, default)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        what = f"{option} must be a list of names, not {value!r}"
        raise InvalidRequest(problems=[Problem((option,), what, default)])
    return tuple(dict.fromkeys(value))


def _mapping(setup: Setup, option: str) -> dict[str, str]:
    value = setup.options.get(option, {})
    if not isinstance(value, Mapping):
        raise InvalidRequest(problems=[Problem((option,), f"{option} must map zones to subnets, not {value!r}")])
    return {str(key): str(name) for key, name in value.items()}
