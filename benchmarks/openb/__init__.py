"""Replays of Alibaba's GPU-sharing trace (openb): how much of a fleet fragmentation-aware placement gives out."""

from benchmarks.openb.measurement import measure

__all__ = ["measure"]
