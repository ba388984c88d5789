"""`godwit run`: a job from a file or a command, planned, confirmed, submitted and followed."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from godwit.cli import arrays, console, figures, output, replicated, specs, submission, watch
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.services import ServiceView
from godwit.domain.wire.views import JobView
from typer.core import TyperCommand

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_COMMAND = "godwit.command"


class _AfterDashes(TyperCommand):
    """Keeps what follows `--` apart: it is the job's command line, not ours."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND], args = args[at + 1 :], args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class gives it
        """Both ways to call it."""
        return ["[OPTIONS] SPEC | godwit run [OPTIONS] -- CMD..."]


@app.command(cls=_AfterDashes)
def run(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    ctx: typer.Context,
    spec: Annotated[Path | None, typer.Argument(help="A job specification in YAML.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the job.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs of each node, such as H100:8.")] = None,
    nodes: Annotated[str | None, typer.Option(help="How many nodes: 4, or 2..8.")] = None,
    infra: Annotated[list[str] | None, typer.Option(help="provider[/region[/zone]]; may be repeated.")] = None,
    workdir: Annotated[str | None, typer.Option(help="Folder to send to every node.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=value for the job; may be repeated.")] = None,
    count: Annotated[int | None, typer.Option(help="An array: so many jobs NAME-0, NAME-1, ...")] = None,
    after: Annotated[
        list[str] | None, typer.Option(help="A job or array that comes first: NAME, or NAME:ended.")
    ] = None,
    run_time: Annotated[str | None, typer.Option(help="How long it runs, about: 90s, 15m, 6h, 2d.")] = None,
    deadline: Annotated[str | None, typer.Option(help="When it should be done: 2026-12-01T18:00Z, or +48h.")] = None,
    budget: Annotated[float | None, typer.Option(help="What it should cost at most, in dollars.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal, high, or a number from -1000 to 1000.")] = None,
    project: Annotated[str | None, typer.Option(help="Whose quota it counts on; `godwit projects` lists them.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse it if it cannot keep to --deadline or --budget.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan only; exit code 6 if it would wait.")
    ] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Plan a job, show what it costs, submit and follow it.

    Exits with the job's own exit code; 130 when it was cancelled, 1 when it failed without one. Of an array, with the
    worst: the code of its first failed job, or 130 when one was cancelled. Of a service, with 0 once it serves.
    Ctrl-C while following leaves the job running.
    """
    options = _options(
        {
            "--name": name, "--gpus": gpus, "--nodes": _number(nodes), "--infra": infra or None, "--workdir": workdir,
            "--count": count, "--after": _after(after or []) or None, "--run-time": run_time, "--deadline": deadline,
            "--budget": budget, "--priority": _number(priority), "--project": project,
        },
        env or [],
    )  # fmt: skip
    if form is not output.Format.TABLE and not dry_run:
        raise Failure("-o prints a plan for programs, so it goes with --dry-run", ExitCode.USAGE)
    given = _given(spec, ctx.meta.get(_COMMAND), options)
    archive = submission.packed(given.workdir)
    if given.workdir is None:
        _tell_of_what_stays(ctx.meta.get(_COMMAND) or ())
    client = console.control_plane()
    plan = submission.planned(client, given)
    if form is output.Format.TABLE:
        submission.show_plan(given.spec, plan)
    else:
        output.show(plan, form)
    if strict:
        submission.refuse_infeasible(plan)
    if dry_run:
        raise typer.Exit(int(ExitCode.OK if plan.feasible else ExitCode.WAITS))
    if not yes:
        submission.confirm(plan)
    if given.spec.kind == "service":
        raise typer.Exit(_serve(submission.serve(client, given, archive), is_followed=not detach))
    submitted = submission.submit(client, given, archive, is_strict=strict)
    raise typer.Exit(_leave(submitted) if detach else follow(submitted))


def _tell_of_what_stays(command: Sequence[str]) -> None:
    """A command that names a file of this folder is mostly meant to find it there."""
    named = [word for word in command if not Path(word).is_absolute() and Path(word).is_file()]
    if named:
        output.note(f"{named[0]} stays here: add `--workdir .` if the job is to find it")


def _leave(submitted: JobView | ArrayView) -> int:
    print(submitted.id)
    name = submitted.name
    if isinstance(submitted, ArrayView):
        output.note(f"submitted {submitted.size} jobs, {name}-0 and on; see them with `godwit ps`")
    else:
        output.note(f"submitted {name}; follow it with `godwit logs -f {name}`, see it with `godwit ps`")
    return int(ExitCode.OK)


def _serve(service: ServiceView, *, is_followed: bool) -> int:
    if not is_followed:
        print(service.id)
        return int(ExitCode.OK)
    output.note(f"{service.name} ({service.id}), version {service.version}; Ctrl-C leaves it to come up")
    try:
        final = replicated.until_ready(console.control_plane, service.id, output.note)
    except KeyboardInterrupt:
        output.note(f"left it to come up; see it with `godwit services show {service.name}`")
        return int(ExitCode.OK)
    return int(ExitCode.OK if final.state == "serving" and final.version >= service.version else ExitCode.FAILED)


def follow(job: JobView | ArrayView) -> int:
    """Follow a job or an array to the end; returns the exit code for the shell."""
    if isinstance(job, ArrayView):
        return _follow_array(job.id)
    output.note(f"submitted {job.name} ({job.id}); Ctrl-C leaves it running")
    status = watch.StatusLine(sys.stderr, output.is_terminal())
    story = watch.Story(sys.stdout, sys.stderr, status)
    try:
        final = watch.to_the_end(console.control_plane, job.id, story, output.terminal_width)
    except KeyboardInterrupt:
        story.say(
            f"left {job.name} running; come back with `godwit logs -f {job.name}`, "
            f"end it with `godwit cancel {job.name}`"
        )
        return int(ExitCode.OK)
    took = figures.duration(time.time() - final.created_at)
    code = f" with exit code {final.exit_code}" if final.exit_code else ""
    story.say(
        f"{job.name} {final.state}{code} after {took}"
        + (f": {final.detail}" if final.detail and final.detail not in code else "")
    )
    if final.state == "failed":
        story.say(f"`godwit explain {job.id}` says why")
    return watch.exit_code_of(final)


def _follow_array(array_id: str) -> int:
    status = watch.StatusLine(sys.stderr, output.is_terminal())
    teller = arrays.Teller(status, output.note, output.terminal_width)
    try:
        final = arrays.to_the_end(console.control_plane, array_id, teller)
    except KeyboardInterrupt:
        status.clear()
        output.note(
            f"[godwit] left {array_id} running; see it with `godwit ps`, end it with `godwit cancel {array_id}`"
        )
        return int(ExitCode.OK)
    took = figures.duration(time.time() - final.created_at)
    output.note(f"[godwit] {final.name} ended after {took}: {arrays.told(final.states)}")
    if final.first_failed is not None:
        output.note(f"[godwit] `godwit explain {final.first_failed}` says why the first of them failed")
    return arrays.exit_code_of(final)


def _given(spec: Path | None, command: list[str] | None, options: specs.Options) -> specs.Given:
    if (spec is None) == (not command):
        raise Failure(
            "give either a specification (godwit run train.yaml) or a command (godwit run -- CMD)", ExitCode.USAGE
        )
    if spec is not None:
        return specs.from_file(spec, options)
    return specs.from_command(command or [], options)


_PATHS: dict[str, tuple[str, ...]] = {
    "--name": ("name",),
    "--workdir": ("workdir",),
    "--gpus": ("resources", "gpus"),
    "--nodes": ("resources", "nodes"),
    "--infra": ("resources", "infra"),
    "--count": ("count",),
    "--after": ("after",),
    "--run-time": ("run_time",),
    "--deadline": ("deadline",),
    "--budget": ("budget_usd",),
    "--project": ("project",),
    "--priority": ("priority",),
}
"""Which key of the specification each option overrides."""


def _options(values: dict[str, Any], env: list[str]) -> specs.Options:
    given = {_PATHS[option]: (option, value) for option, value in values.items() if value is not None}
    for pair in env:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Failure(f"--env {pair}: write NAME=value", ExitCode.USAGE)
        given["env", key] = ("--env", value)
    return given


def _after(names: list[str]) -> list[str | dict[str, str]]:
    """What comes first: `NAME`, or `NAME:ended` for one whose end will do."""
    parted = [name.partition(":") for name in names]
    return [{"job": job, "when": when} if colon else job for job, colon, when in parted]


def _number(text: str | None) -> str | int | None:
    """What looks like a whole number as one: the specification takes both."""
    return int(text) if text and text.removeprefix("-").isdecimal() and text.isascii() else text
