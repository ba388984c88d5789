"""A discrete-event simulator of a fleet in virtual time, with the planner that production runs: see `world`."""
