"""Vast.ai, a marketplace of other people's machines."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Vast.ai",
    "godwit.providers.vastai.provider:VastProvider",
    options={
        "url": "another address of the API",
        "image": "the container image of machines (default: Vast's own base image)",
        "disk_gib": "the disk of each machine, billed while the machine exists (default 100)",
        "reliability_min": "the least reliability of a host, 0 to 1 (default 0.98)",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={"api_key": "cloud.vast.ai, Keys"},
    # Vast's API reference, read in August 2026: a least interval per endpoint, unpublished but for the examples of
    # its 429 answers: 4.5 s between launches, 3 s between destroys, 1 to 2 s between others.
    rates=Rates(calls_per_s=0.5, launches_per_s=1 / 4.5),
)
