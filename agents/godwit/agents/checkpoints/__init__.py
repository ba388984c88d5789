"""Committing, verifying and restoring checkpoints; a manifest, written last, is what makes one."""
