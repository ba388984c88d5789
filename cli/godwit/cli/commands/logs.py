"""`godwit logs`: the output of a job."""

import sys
from typing import Annotated

import typer
from godwit.cli import console, following, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="A job's id, or a name: then the newest of that name.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines.")] = None,
) -> None:
    """Show the output of a job, of all its attempts. A terminal gets its colours, but nothing that steers it."""
    if not follow:
        shown = output.JobOutput(sys.stdout)
        text = console.control_plane().get_text(path_of("/v1/jobs", job, "logs"), {"tail": tail})
        shown.write(text)
        shown.end()
        if not text and tail != 0:
            output.note(
                "[godwit] no output: it has written none, or has been over for longer than output is kept; "
                f"`godwit explain {job}` says how it stands"
            )
        return
    if tail is not None:
        raise Failure("--tail and --follow do not go together; following starts at the beginning", ExitCode.USAGE)
    shown = output.JobOutput(sys.stdout)
    try:
        for event in following.follow(
            console.control_plane, path_of("/v1/jobs", job, "logs", "stream"), {}, last_kind="end"
        ):
            _show(event, shown)
    except KeyboardInterrupt:
        output.note(f"\nleft {job} alone; come back with `godwit logs -f {job}`")


def _show(event: following.StreamEvent | following.Away | following.Back, shown: output.JobOutput) -> None:
    if isinstance(event, following.Away):
        output.note(f"[godwit] {event.message}; trying again for {following.PATIENCE_S / 60:.0f} minutes")
    elif isinstance(event, following.Back):
        output.note("[godwit] the control plane answers again")
    elif event.kind == "log":
        shown.write(str(event.data.get("text", "")))
    elif event.kind == "end":
        shown.end()
        code = event.data.get("exit_code")
        output.note(f"[godwit] {job_end(str(event.data.get('state')), code)}")


def job_end(state: str, code: object) -> str:
    """How the job ended, in a few words."""
    return f"the job {state}" + (f" with exit code {code}" if code else "")
