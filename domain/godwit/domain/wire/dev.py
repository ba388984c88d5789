"""Dev environments: what their specification says besides, what their agents are told, and terminals to them.

    POST /v1/jobs/{job}/terminals        Authorization: Bearer <token>             TerminalWanted -> TerminalOpened
    WS   /v1/terminals/{id}              Authorization: Bearer <the terminal's>    the person's end
    WS   /v1/agent/terminals/{id}        Authorization: Bearer <credential>        the agent's end

The control plane joins both ends and looks into nothing. Binary messages are input one way and output the other, at
most `CHUNK_BYTES` each. Text messages are JSON: `{"rows": 50, "cols": 120}` and `{"end": true}` (of the input) towards
the environment, `{"exit": 0}` (the last one) and `{"refused": "why"}` from there.
"""

from typing import Annotated, Any, Literal

from godwit.domain import times
from godwit.domain.dev import HOME_BYTES_MAX, Dev
from godwit.domain.wire.pages import Message
from pydantic import Field, StringConstraints

CHUNK_BYTES = 32_768
"""The largest message of a terminal: what waits on its way is a few of them at each stop."""

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}

Side = Annotated[int, Field(ge=1, le=10_000)]
Word = Annotated[str, StringConstraints(max_length=65_536)]
Size = Annotated[str, StringConstraints(pattern=r"^\d{1,6}(MB|GB|TB)$")]
Idle = Annotated[str, StringConstraints(pattern=times.DURATION_PATTERN)]


class DevSpec(Message):
    """The keys of a specification that only `kind: dev` has: how large its home may be, and when it counts as left."""

    home: Size = "10GB"
    idle_after: Literal["off"] | Idle = "2h"

    def to_dev(self) -> Dev:
        """The same as a domain value; raises `InvalidRequest` for a time that is none."""
        idle = None if self.idle_after == "off" else times.duration_s(self.idle_after, ("idle_after",))
        return Dev(int(self.home[:-2]) * _UNITS[self.home[-2:]], idle)


def shown(of: Dev) -> dict[str, Any]:
    """What a specification said of it, as the fields of a `DevSpec`."""
    unit = next(unit for unit in ("TB", "GB", "MB") if of.home_bytes_max % _UNITS[unit] == 0)
    idle = "off" if of.idle_after_s is None else times.duration_text(of.idle_after_s)
    return {"home": f"{of.home_bytes_max // _UNITS[unit]}{unit}", "idle_after": idle}


class Desk(Message):
    """The attempt is a dev environment; fields as in `Dev`."""

    home_bytes_max: Annotated[int, Field(gt=0)] = HOME_BYTES_MAX
    idle_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class TerminalWanted(Message):
    """A terminal with a login shell, or with `argv`; without `tty` plain pipes, for programs that read it."""

    argv: Annotated[list[Word], Field(max_length=1_024)] = Field(default_factory=list)
    tty: bool = True
    rows: Side = 24
    cols: Side = 80
    term: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,64}$")] = "xterm-256color"


class TerminalOpened(Message):
    """Dial `/v1/terminals/{id}` with this token: it works once, and not for long."""

    id: str
    token: str


class OpenTerminal(Message):
    """Dial the control plane for this terminal, and join it to the attempt. Once: a known one is left alone."""

    type: Literal["open-terminal"] = "open-terminal"
    intent_id: str
    attempt_id: str
    wanted: TerminalWanted


class IdleSeen(Message):
    """Nobody and nothing has used the environment for `idle_s`; 0: somebody does again.

    It is told once after ten minutes, once it is used again, and once its owner's time for it is over.
    """

    type: Literal["idle-seen"] = "idle-seen"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    attempt_id: str
    epoch: int
    idle_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
