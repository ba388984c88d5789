"""`godwit dev`: a machine to work on, with a home folder that goes with it."""

import time
from typing import Annotated, Any

import typer
from godwit.cli import console, figures, output, specs, submission, watch
from godwit.cli.client import ControlPlane, Refused, path_of
from godwit.cli.commands import attach
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.views import JobDetail, JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)

POLL_S = 0.5
KEPT = ("resources", "env", "setup", "run", "home", "idle_after", "project", "priority", "checkpoint", "preemptible")
"""What an environment that comes back takes from the one before, unless options say otherwise."""


@app.command()
def dev(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    name: Annotated[str, typer.Argument(help="Its name; one that ran before comes back with its home.")] = "box",
    named: Annotated[str | None, typer.Option("--name", help="The same.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Its GPUs, such as H100:1; without it none.")] = None,
    infra: Annotated[list[str] | None, typer.Option(help="provider[/region[/zone]]; may be repeated.")] = None,
    workdir: Annotated[str | None, typer.Option(help="Folder that a new home begins with, as ~/work.")] = None,
    home: Annotated[str | None, typer.Option(help="How large its home may be, such as 20GB.")] = None,
    idle_after: Annotated[str | None, typer.Option(help="Give it back when unused so long: 30m, 2h, off.")] = None,
    project: Annotated[str | None, typer.Option(help="Whose quota it counts on.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return.")] = False,
) -> None:
    """Get a dev environment and open a terminal in it; one of this name that runs is attached to.

    Ctrl-] leaves it running. It is given back when nobody uses it; the same command brings it back with its home.
    """
    client, name = console.control_plane(), named or name
    before = _before(client, name)
    if before is None or before.state in watch.FINAL_STATES:
        values = {
            ("resources", "gpus"): ("--gpus", gpus), ("resources", "infra"): ("--infra", infra or None),
            ("workdir",): ("--workdir", workdir), ("home",): ("--home", home),
            ("idle_after",): ("--idle-after", idle_after), ("project",): ("--project", project),
        }  # fmt: skip
        options = {path: pair for path, pair in values.items() if pair[1] is not None}
        before_id = _begin(client, specs.from_data(_data(name, before), options), is_asked=not yes).id
    else:
        before_id = before.id
    if detach:
        print(before_id)
        return
    _await_running(client, before_id, name)
    raise typer.Exit(attach.follow(before_id))


def _before(client: ControlPlane, name: str) -> JobDetail | None:
    try:
        found = client.get(path_of("/v1/jobs", name), JobDetail)
    except Refused as refused:
        if refused.code is ExitCode.NOT_FOUND:
            return None
        raise
    if found.kind != "dev" and found.state not in watch.FINAL_STATES:
        raise Failure(f"{name} is a job of kind {found.kind}; choose another name", ExitCode.CONFLICT)
    return found if found.kind == "dev" else None


def _data(name: str, before: JobDetail | None) -> dict[str, Any]:
    """The specification as a file would have it: what the one before had, or nothing but its kind."""
    written = {} if before is None else before.spec.model_dump(mode="json", exclude_defaults=True)
    return {"kind": "dev", "name": name, **{key: value for key, value in written.items() if key in KEPT}}


def _begin(client: ControlPlane, given: specs.Given, *, is_asked: bool) -> JobView:
    archive = submission.packed(given.workdir)
    plan = submission.planned(client, given)
    submission.show_plan(given.spec, plan)
    if is_asked:
        submission.confirm(plan)
    submitted = submission.submit(client, given, archive)
    if not isinstance(submitted, JobView):
        raise Failure("a dev environment is one job; this control plane made several of it")
    return submitted


def _await_running(client: ControlPlane, job_id: str, name: str) -> None:
    """Wait until there is something to attach to; Ctrl-C leaves it to come."""
    began, shown = time.time(), ""
    try:
        while True:
            job = client.get(path_of("/v1/jobs", job_id), JobDetail)
            if job.state == "running":
                break
            if job.state in watch.FINAL_STATES:
                raise Failure(f"{name} {job.state}: {job.detail}; `godwit explain {job_id}` says why")
            if job.state != shown:
                output.note(f"{name} is {job.state}")
                shown = job.state
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        output.note(f"left {name} to come; `godwit attach {name}` once it runs, `godwit explain {name}` says how it is")
        raise typer.Exit(int(ExitCode.OK)) from None
    output.note(f"{name} runs, after {figures.duration(time.time() - began)}; Ctrl-] leaves it running")
