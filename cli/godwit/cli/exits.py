"""How the command ends: the exit codes, and the one exception that carries a message for a person."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees; documented in `godwit --help` and docs/cli.md, and never given a second meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    CONFLICT = 5
    WAITS = 6
    CANCELLED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "it failed",
    ExitCode.USAGE: "wrong usage or input; nothing was changed",
    ExitCode.NOT_FOUND: "no such job, node or thing",
    ExitCode.UNREACHABLE: "the control plane cannot be reached, or refuses the token",
    ExitCode.CONFLICT: "the state does not allow it",
    ExitCode.WAITS: "`run --dry-run`: the job would have to wait",
    ExitCode.CANCELLED: "`run`: the job was cancelled",
}


class Failure(Exception):
    """A command cannot do what was asked. `message` says what happened, why, and what to do now."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
