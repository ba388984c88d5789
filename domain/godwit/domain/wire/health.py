"""What an agent says of the health of its node, and what it is told to do about it."""

from typing import Annotated, Literal

from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.pages import Message
from pydantic import Field

Word = Annotated[str, Field(max_length=128)]
Text = Annotated[str, Field(max_length=4_096)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class FindingSeen(Message):
    """A check found something of one GPU (`gpu`, its UUID), of the node (None), or of a job on it (`attempt_id`).

    One that goes on is told again only when it changes; a healthy one says that it is over. `evidence` is bounded:
    numbers, short words, kernel lines; at most 32 of them.
    """

    type: Literal["finding"] = "finding"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    check: Word
    grade: Grade
    reason: Text
    code: Word = ""
    suggested: Remedy = Remedy.NONE
    gpu: Word | None = None
    attempt_id: Word | None = None
    boot_id: Word = ""
    evidence: Annotated[dict[Word, Text | int | Number], Field(max_length=32)] = Field(default_factory=dict)


class ChecksDone(Message):
    """The checks that `RunChecks` ordered are over. What failed came as findings before; `figures` is what was seen."""

    type: Literal["checks-done"] = "checks-done"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    intent_id: Word
    passed: bool
    detail: Text = ""
    took_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    figures: Annotated[dict[Word, Number], Field(max_length=256)] = Field(default_factory=dict)


class RepairDone(Message):
    """The repair of this intent was carried out (`worked`), or it could not be (`detail` says why)."""

    type: Literal["repair-done"] = "repair-done"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    intent_id: Word
    worked: bool
    detail: Text = ""


class RepairNode(Message):
    """Reset these GPUs (their UUIDs), or reboot the node. Nothing runs on them any more."""

    type: Literal["repair-node"] = "repair-node"
    intent_id: str
    remedy: Literal[Remedy.RESET_GPU, Remedy.REBOOT]
    gpus: list[str]
    reason: str


class RunChecks(Message):
    """Run the active checks on these GPUs (indexes; none: only those of the host), within `budget_s`.

    `occasion`: "preflight" before a gang starts, "suspicion", the "return" of what was repaired, or a "sweep" of an
    idle node.
    """

    type: Literal["run-checks"] = "run-checks"
    intent_id: str
    occasion: Literal["preflight", "suspicion", "return", "sweep"]
    gpus: list[int]
    budget_s: float
    reason: str
