"""Loops that load, decide and apply. Each wakes on a timer and on hints, and a hint carries no data."""
