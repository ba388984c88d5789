"""Amazon EC2."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Amazon EC2",
    "godwit.providers.aws.provider:AwsProvider",
    options={
        "url": "another address, for every service and region",
        "timeout_s": "seconds that a call may take (default 20)",
        "regions": "the regions to buy and to list in (default [us-east-1]); one with machines left must stay here",
        "image": "the machine image of x86-64: an AMI, or resolve:ssm:PARAMETER (default: the Deep Learning Base AMI)",
        "key_name": "the key pair put on each machine; left out: none",
        "subnets": "zone to subnet id; left out: the zone's default subnet",
    },
    secrets={
        "access_key_id": "AWS console, IAM, users, security credentials",
        "secret_access_key": "shown once, beside the key's id",
    },
    # EC2's API throttling page, 2026-10: per region, RunInstances refills 2 tokens a second, unfiltered reads 10.
    extra="aws",
    rates=Rates(calls_per_s=10.0, launches_per_s=2.0),
)
