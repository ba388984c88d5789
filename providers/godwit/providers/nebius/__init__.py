"""Nebius AI Cloud."""

from godwit.providers.kinds import Kind

KIND = Kind(
    "Nebius AI Cloud",
    "godwit.providers.nebius.provider:NebiusProvider",
    options={
        "projects": "the projects to buy and to list in, one per region; one with machines left must stay here",
        "gpu_clusters": "project to the id of its GPU cluster, whose InfiniBand fabric machines of 8 GPUs then share",
        "image_family": "the family of the boot disk's image (default ubuntu24.04-cuda12)",
        "disk_gib": "size of the boot disk, which goes with the machine (default 200)",
        "url": "another address, for every service; http:// means without encryption",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    extra="nebius",
    secrets={
        "service_account_id": "Nebius console, IAM, service accounts; it needs the role of an editor in each project",
        "public_key_id": "the id of its authorized key",
        "private_key": "the PEM text of the same key's private half",
    },
)
