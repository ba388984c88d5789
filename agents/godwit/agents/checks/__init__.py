"""Passive health checks: what a node says of its GPUs, its kernel and itself while it works.

Each check reads (numbers and lines, no opinion), judges (pure), and what it judges is reported when it changes.
"""
