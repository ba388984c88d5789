"""What the API tells of receivers outside: who is told of what, and whether it arrives."""

from godwit.domain.wire.pages import Message


class TargetView(Message):
    """A receiver. `pending` messages are owed, `given_up` were not taken for a day; `detail` is the last answer.

    Of its URL only the host is told, since the rest may be a secret.
    """

    name: str
    kind: str
    host: str
    topics: list[str]
    projects: list[str]
    signed: bool
    pending: int
    given_up: int
    detail: str = ""


class TrialView(Message):
    """What became of a message that was sent to see whether it arrives."""

    target: str
    delivered: bool
    detail: str


class ResentView(Message):
    """How many messages that were given up are owed again."""

    target: str
    count: int
