"""What lists the GPUs of a node."""
