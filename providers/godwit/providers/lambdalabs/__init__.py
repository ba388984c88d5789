"""Lambda's GPU cloud."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Lambda Cloud",
    "godwit.providers.lambdalabs.provider:LambdaProvider",
    options={
        "url": "another address of the API",
        "ssh_key": "the name of the SSH key that Lambda wants on each machine; left out: the account's first",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={"api_key": "cloud.lambda.ai, API keys"},
    # Lambda's API documentation, 2026-08: one request a second, one launch in twelve.
    rates=Rates(calls_per_s=1.0, launches_per_s=1 / 12),
)
