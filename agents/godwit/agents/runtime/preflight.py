"""Whether the GPUs of an attempt are tried before its program gets them."""

from collections.abc import Mapping

from godwit.domain.errors import GodwitError
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import StartAttempt


class PreflightFailed(GodwitError):
    """A GPU of the attempt is not fit; the attempt goes elsewhere."""


def is_wanted(command: StartAttempt, machine_env: Mapping[str, str], *, simulated: bool) -> bool:
    """As its owner wishes; on automatic where the GPUs are real, or where the machine says GODWIT_PREFLIGHT=1.

    Never of a share of a GPU: others compute on it.
    """
    if not command.gpus or command.gpu_milli < WHOLE_GPU_MILLI or command.preflight == "never":
        return False
    return command.preflight == "always" or not simulated or machine_env.get("GODWIT_PREFLIGHT") == "1"
