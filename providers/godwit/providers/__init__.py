"""Clouds, each behind the one small `Provider` protocol."""
