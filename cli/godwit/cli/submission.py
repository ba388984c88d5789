"""From a checked specification to a submitted job: plan, show, confirm, upload, submit; in that order.

Nothing is created before everything that can be wrong has been looked at.
"""

import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer
from godwit.cli import figures, output, refusals, workdir
from godwit.cli.client import ControlPlane, Refused
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.specs import Given
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.services import ServiceView
from godwit.domain.wire.specs import JobSpecIn
from godwit.domain.wire.views import ArchiveView, JobView, PlanView

Reply = TypeVar("Reply")


def packed(folder: Path | None) -> workdir.Archive | None:
    """Pack the workdir, if there is one, and say how large it is."""
    if folder is None:
        return None
    archive = workdir.pack(folder)
    files = "1 file" if archive.files == 1 else f"{archive.files} files"
    output.note(f"workdir {folder}: {files}, {figures.size(archive.size_bytes)} packed")
    return archive


def planned(control_plane: ControlPlane, given: Given) -> PlanView:
    """What the planner would do now; raises `Failure` with the lines of what it refuses."""
    return _explained(given, lambda: control_plane.post("/v1/plans", given.spec, PlanView))


def show_plan(spec: JobSpecIn, plan: PlanView) -> None:
    """Print the plan with its prices and reasons to stderr."""
    gpus = spec.resources.gpus if isinstance(spec.resources.gpus, str | int) else "|".join(spec.resources.gpus)
    each = "no GPU" if str(gpus) == "0" else f"{gpus} each"
    many = f", x {plan.count}; of one of them:" if spec.count is not None else ""
    many = f", {spec.replicas} replica(s); of the first of them:" if spec.kind == "service" else many
    output.note(f"{spec.name}: {spec.kind}, {spec.resources.nodes} node(s), {each}{many}")
    counted = Counter(
        (act.action, act.offer or act.node_id or act.job_id or "", act.price_usd_per_hour, act.reason)
        for act in plan.actions
    )
    for (action, target, price, reason), count in counted.items():
        times = f"{count} x " if count > 1 else ""
        cost = f" {figures.usd_per_hour(price)}" if price is not None else ""
        output.note(f"  {action} {times}{target}{cost}: {reason}")
    if plan.feasibility is not None:
        output.note(plan.feasibility.answer)
    if not plan.feasible:
        output.note("it would wait, because")
        for line in refusals.told(plan.refusals, time.time()):
            output.note(f"  {line}")
    if plan.price_usd_per_hour:
        total = figures.usd_per_hour(plan.price_usd_per_hour * plan.count)
        output.note(f"in all {total}" + (f" if all {plan.count} run at once" if plan.count > 1 else ""))


def refuse_infeasible(plan: PlanView) -> None:
    """Raise `Failure` when the job cannot keep to its deadline or its budget."""
    if plan.feasibility is not None and plan.feasibility.verdict == "no":
        raise Failure(
            "it cannot keep to its limits; without --strict it would be submitted all the same", ExitCode.USAGE
        )


def confirm(plan: PlanView) -> None:
    """Ask a person whether to go on; raises `Failure` when there is nobody to ask or the answer is no."""
    if not sys.stdin.isatty():
        raise Failure("nobody is at the terminal to confirm this; add -y to submit without asking", ExitCode.USAGE)
    question = "Run it?" if plan.feasible else "Submit it, to wait until it can run?"
    if not typer.confirm(question, default=True, err=True):
        raise Failure("nothing was submitted", ExitCode.FAILED)


def submit(
    control_plane: ControlPlane, given: Given, archive: workdir.Archive | None, *, is_strict: bool = False
) -> JobView | ArrayView:
    """Upload the workdir unless it is there, then create the job or array: once, since a repeat has the same key."""
    spec = _uploaded(control_plane, given.spec, archive)
    key = str(uuid.uuid4())
    path = "/v1/jobs?strict=true" if is_strict else "/v1/jobs"
    if spec.count is not None:
        return _explained(given, lambda: control_plane.post(path, spec, ArrayView, key=key))
    return _explained(given, lambda: control_plane.post(path, spec, JobView, key=key))


def serve(control_plane: ControlPlane, given: Given, archive: workdir.Archive | None) -> ServiceView:
    """The same for a service: make it, or take it to a new version; a repeat changes nothing."""
    spec = _uploaded(control_plane, given.spec, archive)
    return _explained(given, lambda: control_plane.post("/v1/services", spec, ServiceView, key=str(uuid.uuid4())))


def _uploaded(control_plane: ControlPlane, spec: JobSpecIn, archive: workdir.Archive | None) -> JobSpecIn:
    if archive is None:
        return spec
    path = f"/v1/archives/{archive.digest}"
    if not control_plane.has(path):
        control_plane.put(path, archive.file, archive.size_bytes, "application/gzip", ArchiveView)
    return JobSpecIn.model_validate(spec.model_dump(exclude_unset=True) | {"workdir_digest": archive.digest})


def _explained(given: Given, call: Callable[[], Reply]) -> Reply:
    try:
        return call()
    except Refused as refused:
        if refused.problems or refused.code is ExitCode.USAGE:
            raise given.failure(refused.problems, refused.message) from refused
        raise
