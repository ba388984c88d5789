"""The figures that godwit is held to, each measured beside a baseline of the same run: `python -m benchmarks`."""
