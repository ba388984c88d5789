"""The state of a control plane in one file, and a control plane from such a file."""
