"""What one region of EC2 sells: types, zones, prices on demand and spot, and capacity that is already reserved."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.domain import gpu_names
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers.aws.clients import Clients

FACTS_KEPT_S = 6 * 3600.0
"""Types, zones and list prices change on the scale of weeks, and reading them takes a dozen calls a region."""

PRICE_REGION = "us-east-1"
"""The Price List API answers for all regions in this one (AWS Price List API, endpoints, 2026-10)."""

PRODUCT = {
    "instanceFamily": "GPU instance",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
"""What distinguishes the plain price of a GPU type from the hundreds of others that the Price List API has for it."""

SPOT_PRODUCT = "Linux/UNIX"
SKEW_S = 300.0
"""How far our clock may be ahead of Amazon's: a history that starts in the future is empty. Requests that are
further off are refused anyway."""

RESERVED = "@"
"""Between a type and the reservation that an offer draws on: `p5.48xlarge@cr-0123`."""


@dataclass(frozen=True)
class Facts:
    """What a region sells that changes slowly, read at `seen_at`: for each type an offer without place and price,
    the ways in which it is sold, the zones that have it, and its price on demand."""

    seen_at: float
    types: dict[str, Offer]
    sold_as: dict[str, list[str]]
    zones: dict[str, list[str]] = field(default_factory=dict)
    prices_usd_per_hour: dict[str, float] = field(default_factory=dict)


def read_facts(clients: Clients, provider: ProviderName, region: str, now: float) -> Facts:
    """Read them; boto3's exceptions pass through."""
    ec2 = clients.of("ec2", region)
    filters = [
        {"Name": "instance-type", "Values": ["g*", "p*"]},
        {"Name": "processor-info.supported-architecture", "Values": ["x86_64"]},
    ]
    rows = [row for row in _all(ec2, "describe_instance_types", "InstanceTypes", Filters=filters) if _is_whole(row)]
    types = {row["InstanceType"]: _type(provider, region, row) for row in rows}
    facts = Facts(now, types, {row["InstanceType"]: list(row["SupportedUsageClasses"]) for row in rows})
    for row in _all(
        ec2, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": sorted(types)}],
    ):  # fmt: skip
        facts.zones.setdefault(row["InstanceType"], []).append(row["Location"])
    facts.prices_usd_per_hour.update(_prices(clients, region))
    return facts


def offers(clients: Clients, facts: Facts, region: str, now: float) -> Iterator[Offer]:
    """Everything that the region sells now: on demand, as spot, and from reservations; no one tells what is in stock.

    boto3's exceptions pass through. Offers on demand are as old as `facts`; the others are read now.
    """
    for name, kind in facts.types.items():
        price = facts.prices_usd_per_hour.get(name)
        if price is not None and "on-demand" in facts.sold_as[name]:
            for zone in facts.zones.get(name, ()):
                yield replace(kind, zone=zone, price_usd_per_hour=price, seen_at=facts.seen_at)
    ec2 = clients.of("ec2", region)
    for (name, zone), price in _spot_prices(ec2, facts, now).items():
        yield replace(facts.types[name], zone=zone, price_usd_per_hour=price, spot=True, seen_at=now)
    for row in _reservations(ec2):
        if row["InstanceType"] in facts.types:
            yield _reserved(facts.types[row["InstanceType"]], row, now)


def _reserved(kind: Offer, row: dict[str, Any], now: float) -> Offer:
    """The price is what using it adds to the bill: a reservation and a capacity block are paid for, used or not."""
    return replace(
        kind,
        instance_type=f"{kind.instance_type}{RESERVED}{row['CapacityReservationId']}",
        zone=row["AvailabilityZone"],
        price_usd_per_hour=0.0,
        capacity=row["AvailableInstanceCount"],
        seen_at=now,
    )


def _reservations(ec2: Any) -> list[dict[str, Any]]:
    active = [{"Name": "state", "Values": ["active"]}]
    return _all(ec2, "describe_capacity_reservations", "CapacityReservations", Filters=active)


def _spot_prices(ec2: Any, facts: Facts, now: float) -> dict[tuple[str, str], float]:
    """The current price by type and zone: a history begins with the prices that held at its start."""
    wanted = sorted(name for name, ways in facts.sold_as.items() if "spot" in ways)
    if not wanted:
        return {}  # without names the history of every type there is would come
    rows = _all(
        ec2, "describe_spot_price_history", "SpotPriceHistory", StartTime=now - SKEW_S, InstanceTypes=wanted,
        ProductDescriptions=[SPOT_PRODUCT],
    )  # fmt: skip
    rows.sort(key=lambda row: row["Timestamp"])
    return {
        (row["InstanceType"], row["AvailabilityZone"]): float(row["SpotPrice"])
        for row in rows
        if row["InstanceType"] in facts.types
    }


def _prices(clients: Clients, region: str) -> dict[str, float]:
    """Price on demand by type, from the Price List API."""
    wanted = PRODUCT | {"regionCode": region}
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in wanted.items()]
    client = clients.of("pricing", PRICE_REGION)
    found: dict[str, float] = {}
    for text in _all(client, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters):
        entry = json.loads(text)
        for term in entry.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                if dimension["unit"] == "Hrs":
                    found[entry["product"]["attributes"]["instanceType"]] = float(dimension["pricePerUnit"]["USD"])
    return found


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether the type has whole GPUs: of the slices that g6f and its kin sell, `Count` is 0."""
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    return bool(gpus) and gpus[0].get("Count", 0) > 0


def _type(provider: ProviderName, region: str, row: dict[str, Any]) -> Offer:
    gpu = row["GpuInfo"]["Gpus"][0]
    memory_gib = gpu["MemoryInfo"]["SizeInMiB"] / 1024
    return Offer(
        provider=provider,
        region=region,
        zone=None,
        instance_type=row["InstanceType"],
        gpu_model=gpu_names.normalise(gpu["Name"], memory_gib) or gpu["Name"],
        gpu_count=gpu["Count"],
        gpu_memory_gib=round(memory_gib, 1),
        cpus=row["VCpuInfo"]["DefaultVCpus"],
        memory_gib=row["MemoryInfo"]["SizeInMiB"] / 1024,
        price_usd_per_hour=0.0,
    )


def _all(client: Any, operation: str, key: str, **asked: Any) -> list[Any]:
    """Every row of a paged answer; pages may be empty and still have another behind them."""
    pages = client.get_paginator(operation).paginate(**asked)
    return [row for page in pages for row in page.get(key, [])]
