"""Simulated neoclouds: they sell, bill, fail and lie as real ones do, and their machines are real processes."""
