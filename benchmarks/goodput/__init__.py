"""Goodput: how much of the wall time a large job trains, when hardware fails as it does, and who answers how.

```
 scenario ──▶ world ──lines, NVML values, exits, silence──▶ Responder (godwit | baselines | oracle)
 (seeded)      │  ▲                                            │
               │  └────── stop, start, repair, test, buy ──────┘
               └──▶ training (steps, checkpoints) ──▶ tally ──▶ measurement
```
"""

from benchmarks.goodput.measurement import measure

__all__ = ["measure"]
