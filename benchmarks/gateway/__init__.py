"""The gateway: its regulator in simulated time, its proxy beside others on this machine."""
