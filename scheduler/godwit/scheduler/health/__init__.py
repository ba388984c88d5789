"""What findings lead to: decisions, evictions, repairs, quarantine and return. Pure."""
