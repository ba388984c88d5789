"""Hyperstack, NexGen Cloud's GPU cloud."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Hyperstack",
    "godwit.providers.hyperstack.provider:HyperstackProvider",
    options={
        "url": "another address of the API",
        "environments": "region to the name of the environment that machines there belong to (default: default-REGION)",
        "ssh_key": "the name of the key pair that Hyperstack wants on each machine; left out: the environment's first",
        "image": "the image of machines (default: Ubuntu 22.04 with NVIDIA drivers)",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={"api_key": "console.hyperstack.cloud, API keys"},
    # Hyperstack's API reference, rate limits, read in August 2026: 500 requests a minute and address. One `offers` is
    # three requests, a long listing several.
    rates=Rates(calls_per_s=2.0),
)
