"""How often a program should save, as its node is told."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field


class Saving(Message):
    """How often the program should save, and what the node needs to know to choose better once it has seen saves.

    `interval_s` is for the start; then the node chooses by Young and Daly (`godwit.domain.cadence`) from what saves
    take, a failure every `mtbf_s`, between `shortest_s` and `longest_s`. `keep` checkpoints stay in the store.
    """

    interval_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    mtbf_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e7
    shortest_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    longest_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3600.0
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
