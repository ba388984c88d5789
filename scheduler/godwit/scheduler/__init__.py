"""The pure planner: a snapshot of the truth in, a plan with reasons out."""
