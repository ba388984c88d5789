"""Thousands of agents on one control plane process: what they cost it, and what happens when all come back at once."""
