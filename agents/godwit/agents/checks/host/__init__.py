"""Checks of the machine around the GPUs: each module reads /proc or /sys below a root path, and judges."""
