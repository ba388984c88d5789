"""Services: how many replicas of which version, where, which of them go, and when. Pure, like the planner beside it."""
