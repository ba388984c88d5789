"""How an attempt runs on a node: its guard, its Ray cluster, its program, its output."""
