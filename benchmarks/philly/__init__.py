"""Time sharing without an oracle: four weeks of Microsoft's Philly cluster, replayed by our own simulator."""

from benchmarks.philly.measurement import measure

__all__ = ["measure"]
