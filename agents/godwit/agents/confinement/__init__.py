"""What keeps a job's program from its node: a user and a cgroup of its own for each attempt."""
