"""How Python itself runs a control plane of many agents: how long a thread runs, when garbage is looked for."""

import gc
import sys

SWITCH_S = 0.0005
"""For how long a thread keeps the others from running. SQLite lets go between two rows, and would wait for the whole of
Python's five milliseconds at each: with 5,000 agents a loop that reads all nodes was never through."""

GARBAGE = (50_000, 20, 50)
"""New objects until garbage is looked for, and in how many of those looks the older ones are gone through, too. What
10,000 connections keep is a million objects, and a plan of 5,000 nodes makes 100,000: with Python's 700, 10 and 10 a
third of all CPU time went into looking (`benchmarks many_agents`)."""


def prepare() -> None:
    """To be called once, before the process begins to serve; what was imported until now is never looked through."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
