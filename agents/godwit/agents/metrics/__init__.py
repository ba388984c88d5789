"""What an agent tells Prometheus of itself and of its GPUs, where it was asked to."""
