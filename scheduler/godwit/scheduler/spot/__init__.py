"""Spot or on demand for a job with a deadline: what keeps it, what it costs, and what is learned of the market."""
