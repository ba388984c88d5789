"""Checks through NVML: each module reads values of one GPU (or of all) and judges them."""
