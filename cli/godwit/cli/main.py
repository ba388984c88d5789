"""The `godwit` command: a table of commands, of which only the one that is called gets imported.

`godwit --help` is timed (under 0.3 s), so nothing here may import httpx, pydantic or Rich.
"""

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from typing import Any

import typer
from godwit.cli.exits import MEANINGS, ExitCode, Failure
from typer.core import TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start the control plane on this machine."),
    "down": ("down", "Stop it, with its simulated clouds and their nodes."),
    "run": ("run", "Plan a job, show what it costs, submit and follow it."),
    "dev": ("dev", "Get a dev environment, and open a terminal in it."),
    "attach": ("attach", "Open a terminal in a dev environment that runs."),
    "exec": ("exec", "Run a command in a dev environment."),
    "ps": ("ps", "List jobs."),
    "logs": ("logs", "Show the output of a job."),
    "explain": ("explain", "Say why a job is where it is."),
    "resize": ("resize", "Give a job more or fewer nodes."),
    "cancel": ("cancel", "Stop a job."),
    "services": ("services", "List services and their replicas; move or remove one."),
    "scale": ("scale", "Give a service more or fewer replicas."),
    "rollout": ("rollout", "Show a service's change of versions; pause, resume, promote or undo it."),
    "keys": ("keys", "List, make or remove the API keys of services."),
    "migrate": ("migrate", "Move a running job to another provider or region."),
    "events": ("events", "Show what happened."),
    "nodes": ("nodes", "List the machines of the fleet."),
    "offers": ("offers", "List what can be bought now, cheapest first."),
    "top": ("top", "Show the fleet live: what is busy, broken and idle, and who waits."),
    "costs": ("costs", "Say where the money went, and what was lost."),
    "budget": ("budget", "Show or set what projects may spend in a month."),
    "projects": ("projects", "List projects, with their jobs and quotas."),
    "secrets": ("secrets", "Set, list or delete what jobs may know and nobody reads back."),
    "quota": ("quota", "Show or set what projects may hold, and what they use of it."),
    "providers": ("providers", "List the configured clouds and how they do."),
    "incidents": ("incidents", "Show what is wrong with nodes and GPUs, and what is done about it."),
    "notify": ("notify", "List who is told of what happens; try one, or send again."),
    "breaker": ("breaker", "Show or reset what keeps automation from emptying the fleet."),
    "simulate": ("simulate", "Ask what if: run the planner over a trace in virtual time."),
    "drill": ("drill", "Break something on purpose and watch the fleet heal."),
    "gateway": ("gateway", "Run the gateway that takes requests to services."),
    "backup": ("backup", "Write the state of this machine's control plane into one file."),
    "restore": ("restore", "Make it again what it was when such a file was written."),
    "orphans": ("orphans", "List or end machines that were bought after the backup."),
    "version": ("version", "Print the versions of this command and of the control plane."),
    "login": ("login", "Log in to a control plane elsewhere; you confirm it in a browser."),
    "logout": ("logout", "Log out again."),
    "whoami": ("whoami", "Say who you are there, and what you may do."),
    "users": ("users", "List the people who log in with an identity provider; keep one out."),
    "tokens": ("tokens", "List, make, rotate or revoke the tokens of programs."),
    "audit": ("audit", "List who changed what; check that the record of it is whole."),
    "authorities": ("authorities", "List who signs the certificates of agents; begin another."),
    "dashboard": ("dashboard", "Open the dashboard in a browser."),
}
"""Command: the module under `godwit.cli.commands` that holds its `app`, and its one line of help."""


class LazyGroup(TyperGroup):
    """A group that knows its commands by the table, and imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class gives it
        """The names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the base class gives it
        """Import the command's module; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"godwit.cli.commands.{COMMANDS[cmd_name][0]}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class, with a near match among commands that are not imported yet."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            ctx.fail(f"there is no command {name!r}{meant} (commands: {', '.join(COMMANDS)})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base class gives it
        """Write the table: the base class would import every command to ask for its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_module, line) in COMMANDS.items()])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base class gives it
        """Write the exit codes and the environment, one per line (a string would be re-wrapped)."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])
            formatter.write_text("`run`, when it follows a job to its end, exits with the job's own exit code.")
        with formatter.section("Environment"):
            formatter.write_dl(
                [
                    ("GODWIT_HOME", "state and configuration (default: ~/.godwit)"),
                    ("GODWIT_URL", "a control plane elsewhere"),
                    ("GODWIT_TOKEN", "the token for it"),
                    ("GODWIT_DEBUG", "1: show the traceback of an error"),
                ]
            )


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run AI work on GPUs rented from many clouds as if they were one fleet.",
)


@app.callback()
def _root() -> None:
    """Hold the group together; Typer wants a callback before it makes a group of an app without commands."""


def main() -> None:
    """Run the command line and exit with one of `ExitCode`, or with the followed job's exit code."""
    _leave_out_what_no_command_needs()
    try:
        typer.main.get_command(app)(prog_name="godwit")
    except Failure as failure:
        _report(failure.message)
        sys.exit(int(failure.code))
    except Exception as exc:  # noqa: BLE001 - the outermost frame: a person sees a sentence, not a traceback
        _report(f"this is a bug in godwit: {type(exc).__name__}: {exc}; GODWIT_DEBUG=1 shows where")
        sys.exit(int(ExitCode.FAILED))
    finally:
        _flush()


def _leave_out_what_no_command_needs() -> None:
    """Save a third of the time that an import of httpx takes; it offers to go without."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx's own command, with all of Pygments


def _flush() -> None:
    """Write what is left, where somebody reads it: `head` has often left, and Python would complain as it ends."""
    if sys.stdout is None:
        return  # it was closed from the beginning
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # It flushes once more then; this is how its documentation would have it (library/signal, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str) -> None:
    if os.environ.get("GODWIT_DEBUG") == "1":
        traceback.print_exc()
    print(f"godwit: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
