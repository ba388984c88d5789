"""Hearing from the provider that it takes this machine back: one module for each way in which providers say so."""
