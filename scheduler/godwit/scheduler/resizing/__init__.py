"""Running jobs that get nodes or give some back: which may, how many, which nodes, and when it is worth it. Pure."""
