"""Spot instances under a deadline: the scheduler's policy on public availability traces, beside published policies."""

from benchmarks.spot.measurement import measure

__all__ = ["measure"]
