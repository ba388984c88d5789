"""Crusoe Cloud."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Crusoe Cloud",
    "godwit.providers.crusoe.provider:CrusoeProvider",
    options={
        "url": "another address of the API",
        "project": "the id of the project that machines belong to (needed)",
        "ssh_public_key": "the SSH public key that Crusoe wants on each machine; left out: the user's first",
        "image": "the image of machines (default: Ubuntu 22.04 with what the type's GPUs need)",
        "ib_partitions": "location to the id of the InfiniBand partition that `-ib` and `-roce` types there join",
        "prices_usd_per_gpu_hour": "type without its count to what a contract says, before the list price",
        "poll_s": "seconds between looks at a launch under way, five at the most (default 2)",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={
        "access_key_id": "console.crusoecloud.com, Security, API access keys",
        "secret_key": "shown once, when the access key is made",
    },
    # Crusoe documents no rate limit (API v1, August 2026).
    rates=Rates(),
)
