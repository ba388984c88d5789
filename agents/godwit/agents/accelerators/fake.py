"""GPUs that exist on paper, for simulated nodes."""

from godwit.domain.wire.agents import GpuFact
from pydantic import TypeAdapter

_FACTS = TypeAdapter(list[GpuFact])


def gpus(text: str) -> list[GpuFact]:
    """Read a JSON list of GPUs; raises `ValueError` when it is not one."""
    return _FACTS.validate_json(text)
