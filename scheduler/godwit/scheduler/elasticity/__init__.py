"""Elastic sizes: how much each job that may grow or shrink is given, from what it reported of itself."""
