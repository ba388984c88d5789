"""The kernel log as a check: records, the lines that mean something, bursts, and where reading stopped."""
