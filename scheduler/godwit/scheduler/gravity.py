"""Data draws work to it: what moving it to a node costs, in dollars and in hours."""

from collections.abc import Collection, Iterable

from godwit.domain.jobs import Data
from godwit.domain.resources import Infra

EGRESS_USD_PER_GB = {"aws": 0.09, "gcp": 0.12, "azure": 0.087, "digitalocean": 0.01}
"""What a gigabyte costs that leaves a cloud for the internet, first step of the price lists of 2026: AWS
"Data Transfer OUT From Amazon EC2 To Internet", Google Cloud premium tier, Azure bandwidth from North America,
DigitalOcean beyond what droplets include. GPU clouds such as RunPod and Hyperstack take nothing; a provider that is not
listed counts as one."""

BETWEEN_REGIONS_USD_PER_GB = {"aws": 0.02, "gcp": 0.02, "azure": 0.02}
"""The same between two regions of one cloud on one continent."""

REACH_GB_PER_S = 5 / 8
"""How fast data comes from elsewhere: 5 Gb/s, what EC2 gives an instance for traffic that leaves its region ("Amazon
EC2 instance network bandwidth"). What lies in the node's region is read while the job runs."""


def egress_usd(data: Iterable[Data], provider: str, region: str) -> float:
    """What it costs to bring all of it once to a node of this provider and region."""
    return sum(one.size_gb * _rate(one, provider) for one in data if not _is_at(one.at, provider, region))


def transfer_h(data: Iterable[Data], provider: str, region: str) -> float:
    """How many hours a node there waits for it."""
    away_gb = sum(one.size_gb for one in data if not _is_at(one.at, provider, region))
    return away_gb / REACH_GB_PER_S / 3600


def is_home(data: Collection[Data], provider: str, region: str) -> bool:
    """Whether nothing is to be moved."""
    return all(_is_at(one.at, provider, region) for one in data)


def _is_at(at: Infra, provider: str, region: str) -> bool:
    return at.provider == provider and at.region in {None, region}


def _rate(one: Data, provider: str) -> float:
    if one.egress_usd_per_gb is not None:
        return one.egress_usd_per_gb
    table = BETWEEN_REGIONS_USD_PER_GB if one.at.provider == provider else EGRESS_USD_PER_GB
    return table.get(one.at.provider, 0.0)
