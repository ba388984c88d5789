"""The node agent: dials the control plane, holds a lease, and runs this node's part of attempts."""
