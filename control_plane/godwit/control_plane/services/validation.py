"""What a specification must satisfy beyond its shape: things that only the control plane knows."""

from collections.abc import Sequence
from difflib import get_close_matches

from godwit.control_plane.context import Context
from godwit.control_plane.services import archives, project_secrets
from godwit.control_plane.store import tenancy
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.jobs import JobSpec, Resources
from godwit.domain.offers import Offer
from godwit.scheduler import placement
from godwit.scheduler.reasons import Code


def check(context: Context, shelf: archives.Shelf, spec: JobSpec, offers: Sequence[Offer]) -> None:
    """Raise `InvalidRequest` when the job could never run as asked, whatever is free; say what would be accepted."""
    problems = [
        *_unknown_project(context, spec.project),
        *_unknown_providers(context, spec),
        *_impossible(spec.resources, offers),
        *project_secrets.problems(context, spec),
    ]
    if spec.workdir_digest is not None and not shelf.has(spec.workdir_digest):
        message = "no archive with this digest was uploaded; PUT it to /v1/archives/{digest} first"
        problems.append(Problem(("workdir_digest",), message))
    if problems:
        raise InvalidRequest(problems=problems)


def _unknown_project(context: Context, name: str) -> list[Problem]:
    """A slip in a project's name must not escape its quota."""
    with context.db.read() as conn:
        if tenancy.find(conn, name) is not None:
            return []
        names = [project.name for project in tenancy.projects(conn)]
    near = get_close_matches(name, names, n=1)
    message = f"there is no project {name!r}; `godwit projects add {name}` makes it"
    return [Problem(("project",), message, tuple(names[:20]), near[0] if near else None)]


def _unknown_providers(context: Context, spec: JobSpec) -> list[Problem]:
    known = sorted(context.providers)
    problems = []
    for index, infra in enumerate(spec.resources.infra):
        if infra.provider not in context.providers:
            near = get_close_matches(infra.provider, known, n=1)
            message = f"no provider is called {infra.provider!r}"
            problems.append(Problem(("resources", "infra", index), message, tuple(known), near[0] if near else None))
    return problems


def _impossible(resources: Resources, offers: Sequence[Offer]) -> list[Problem]:
    """Whether no offer of any provider has the asked shape, however much capacity there were."""
    if not offers:
        return []
    refusals = [r for o in offers if (r := placement.offer_refusal(resources, o, o.key)) is not None]
    if len(refusals) < len(offers):
        return []
    ask = resources.gpus
    fitting_model = [o for o in offers if o.gpu_model and ask.accepts(o.gpu_model, o.gpu_memory_gib)]
    most = max((o.gpu_count for o in fitting_model), default=0)
    if ask.count and not fitting_model:
        models = tuple(sorted({o.gpu_model for o in offers if o.gpu_model}))
        return [Problem(("resources", "gpus"), f"no configured provider sells {ask}", models)]
    if ask.count > most:
        meant = f"{'|'.join(ask.models) or 'any'}:{most} with nodes: {-(-ask.count * resources.nodes_min // most)}"
        message = f"no node has {ask.count} such GPUs; the largest has {most}"
        return [Problem(("resources", "gpus"), message, (f"1 to {most}",), meant)]
    codes = {r.code for r in refusals}
    if codes <= {Code.TOO_SMALL, Code.WRONG_GPU, Code.TOO_FEW_GPUS}:
        most_cpus, most_memory = max(o.cpus for o in offers), max(o.memory_gib for o in offers)
        message = f"no such node has {resources.cpus} CPUs and {resources.memory_gib:g} GiB of memory"
        return [Problem(("resources", "cpus"), message, (f"up to {most_cpus} CPUs", f"up to {most_memory:g} GiB"))]
    places = "; ".join(sorted({r.message for r in refusals if r.code is not Code.WRONG_GPU})[:3])
    return [Problem(("resources",), f"no offer of any provider can ever serve this: {places}")]
