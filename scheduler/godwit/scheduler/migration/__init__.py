"""Moves of healthy running jobs: what one saves and costs, where it goes, what comes next, and which are wished."""
