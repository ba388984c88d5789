"""What the API shows of arrays, of what jobs wait for, how long they run, and whether they keep to their limits."""

from typing import Literal

from godwit.domain.wire.pages import Message


class ArrayView(Message):
    """Jobs that were submitted as one: how many of them are in each state (states without any are left out).

    `first_failed` is the name of the failed job with the lowest number, and `exit_code` its exit code, if it had one.
    """

    kind: Literal["array"] = "array"
    id: str
    name: str
    project: str
    size: int
    created_at: float
    states: dict[str, int]
    first_failed: str | None = None
    exit_code: int | None = None


class DependencyView(Message):
    """Something that a job waits for: the id of a job or of an array, and how many jobs of it are in each state.

    `when` is what it must come to: all `succeeded`, or all `ended` in whatever way.
    """

    id: str
    name: str
    when: Literal["succeeded", "ended"]
    states: dict[str, int]


class EstimateView(Message):
    """How many seconds a job still runs, which may be wrong, and who says so."""

    left_s: float
    source: str


class FeasibilityView(Message):
    """Whether a job can keep to its deadline and its budget: of an array, one of its jobs that is alone.

    `no`: not even if all goes as expected; `short_by` is the share of the work that would be missing. `unknown`: nobody
    said how long it runs. `likely`: as expected; `yes`: even if it takes twice as long. `answer` says it in words.
    """

    verdict: Literal["no", "unknown", "likely", "yes"]
    short_by: float
    answer: str
