"""What a control plane tells Prometheus of itself and of its fleet."""
