"""DigitalOcean's GPU droplets."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "DigitalOcean",
    "godwit.providers.digitalocean.provider:DigitalOceanProvider",
    options={
        "url": "another address of the API; https://api-amd.digitalocean.com is the AMD Developer Cloud",
        "image": "the image of every machine; left out: DigitalOcean's image for the machine's GPUs",
        "ssh_key": "the id or fingerprint of an SSH key to put on each machine; left out: the account's first, if any",
        "timeout_s": "seconds that a call may take (default 20)",
    },
    secrets={"token": "cloud.digitalocean.com, API, personal access tokens; it must be allowed to read and write"},
    # DigitalOcean's API documentation, 2026-08: 5,000 requests an hour and 250 a minute; one listing is two requests.
    rates=Rates(calls_per_s=0.6),
)
