"""The vocabulary of godwit: what things are, which states they pass through, and what can go wrong."""
