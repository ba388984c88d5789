"""The adapter to Kubernetes on a cluster on paper."""

from collections.abc import Iterator

from godwit.providers.kubernetes_pods.provider import kubernetes_provider
from godwit.providers.simulated.catalogue import Shape

from tests.contract.rigs import Rig
from tests.emulators.kubernetes_pods.emulator import KubernetesEmulator
from tests.emulators.rigs import emulated

SHAPES = (
    Shape("NVIDIA-A10:1", "east", "A10", 1, 24.0, 16, 64.0, 0.75, None, 8),
    Shape("NVIDIA-L40S:1", "west", "L40S", 1, 48.0, 16, 96.0, 1.1, None, 4),
)
OPTIONS = {"image": "godwit:1", "prices": {"A10": 0.75, "L40S": 1.1}}


def rig() -> Iterator[Rig]:
    """A 5xx of an API server promises nothing; ended pods go as soon as they were deleted."""
    yield from emulated(
        KubernetesEmulator(SHAPES), kubernetes_provider, OPTIONS, secret="access", promises_on_5xx=False
    )  # fmt: skip
