"""Quotas, borrowing and reclaim: Kueue's own performance test on godwit's engine, in virtual time."""

from benchmarks.quotas.measurement import measure

__all__ = ["measure"]
