"""What every list and every error looks like."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Message(BaseModel):
    """Base of every HTTP message: unknown keys are refused, values are not changed after parsing.

    A message's validator is built when it is first used: a command uses a few of them, and all took it 0.1 s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Page(Message, Generic[Item]):
    """A page of a list. `next_cursor` is passed back as `cursor` to read on; None at the end."""

    items: list[Item]
    next_cursor: str | None = None


class FieldProblem(Message):
    """One thing wrong with one field. `path` holds the keys and indexes that lead to it."""

    path: list[str | int]
    message: str
    accepted: list[str] = Field(default_factory=list)
    did_you_mean: str | None = None


class ProblemDetails(Message):
    """An error, as RFC 9457 has it; `code` is the error class's name in kebab case, stable for programs."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    problems: list[FieldProblem] = Field(default_factory=list)
