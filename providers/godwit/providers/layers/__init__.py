"""What is common to all clouds, written once as decorators on the `Provider` protocol."""

from godwit.providers.layers.limiting import Limited
from godwit.providers.layers.measuring import CallMetrics, Measured
from godwit.providers.layers.retrying import Retrying

__all__ = ["CallMetrics", "Limited", "Measured", "Retrying"]
