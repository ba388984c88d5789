"""RunPod's GPU cloud: a machine is a container."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "RunPod",
    "godwit.providers.runpod.provider:RunPodProvider",
    options={
        "url": "another address of the API",
        "clouds": "where to buy: [SECURE] (RunPod's own hosts, the default), [COMMUNITY] (other people's) or both",
        "image": "the container image that machines run; it needs sh and base64",
        "disk_gb": "gigabytes of each machine's own disk (default 100)",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={"api_key": "console.runpod.io, Settings, API keys; it must be allowed to read and write"},
    # RunPod's API documentation, 2026-08, shows 60 calls a minute and 3,000 an hour; reading the offers is four calls.
    rates=Rates(calls_per_s=0.5),
)
