"""The elastic benchmark: jobs of the Pollux paper on 16 nodes of 4 GPUs, replayed over its measurements."""

from benchmarks.pollux.measurement import measure

__all__ = ["measure"]
