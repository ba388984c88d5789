"""Simulated neoclouds: they sell, bill, fail and lie as real ones do, and their machines are real processes."""

from godwit.providers.kinds import Kind

KIND = Kind(
    "a built-in simulated cloud, for trying and for drills",
    "godwit.providers.simulated.client:from_setup",
    options={"timeout_s": "seconds that a call may take (default 10)"},
)
