"""What a job waits for besides nodes: other jobs that come first."""

from dataclasses import dataclass
from enum import StrEnum


class When(StrEnum):
    """What one job must come to before another that waits for it may start: a good end, or any."""

    SUCCEEDED = "succeeded"
    ENDED = "ended"


@dataclass(frozen=True)
class After:
    """A job or an array that must come first, by its name or id as the owner wrote it."""

    job: str
    when: When = When.SUCCEEDED


@dataclass(frozen=True)
class Dependency:
    """Something that must come first, found: `on` is the id of a job or of an array, `name` what people call it."""

    on: str
    name: str
    when: When = When.SUCCEEDED
