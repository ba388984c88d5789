"""What an action would do, before it is done: for whoever is asked to confirm it."""

from godwit.domain.wire.pages import Message
from pydantic import Field


class AffectedJob(Message):
    """A job that an action touches. `saved_s_ago` is the age of its last checkpoint, None where it has none.

    `becomes` says in words what becomes of it.
    """

    id: str
    name: str
    project: str
    kind: str
    gpus: int
    saved_s_ago: float | None
    becomes: str


class ConsequencesView(Message):
    """`text` is one sentence, such as "stops 3 jobs, 2 have a checkpoint younger than 4m"; `lines` are for each thing.

    `usd_per_hour` is by how much the fleet becomes dearer, or cheaper where it is negative; None where nobody knows.
    `why_not` is set where the action would be refused or would change nothing.
    """

    text: str
    lines: list[str] = Field(default_factory=list)
    jobs: list[AffectedJob] = Field(default_factory=list)
    usd_per_hour: float | None = None
    why_not: str = ""
