"""The control plane: the API, the truth, and the loops that turn decisions into effects and effects into facts."""
