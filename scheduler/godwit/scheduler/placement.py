"""What can never serve a job, whatever becomes free; `asks.Ask.suits` asks the same without words."""

from godwit.domain.jobs import Fabric, Resources
from godwit.domain.offers import Offer
from godwit.scheduler.asks import Ask
from godwit.scheduler.reasons import Code, Refusal


def offer_refusal(resources: Resources, offer: Offer, subject: str) -> Refusal | None:  # noqa: PLR0911 - a list of checks
    """Say why machines of this offer can never serve `resources`, or None when they can. Checks run cheapest first."""
    ask = resources.gpus
    if resources.infra and not any(i.covers(offer.provider, offer.region, offer.zone) for i in resources.infra):
        allowed = ", ".join(str(i) for i in resources.infra)
        return Refusal(Code.NOT_ALLOWED_THERE, subject, f"infra allows only {allowed}", "widen resources.infra")
    if offer.spot and resources.spot == "never":
        return Refusal(Code.WRONG_MARKET, subject, "spot, and the job says never", "resources.spot: auto")
    if not offer.spot and resources.spot == "only":
        return Refusal(Code.WRONG_MARKET, subject, "on-demand, and the job wants spot only", "resources.spot: auto")
    if ask.count and (offer.gpu_model is None or not ask.accepts(offer.gpu_model, offer.gpu_memory_gib)):
        have = f"{offer.gpu_model or 'no GPU'}, {offer.gpu_memory_gib:g} GiB"
        return Refusal(Code.WRONG_GPU, subject, f"has {have}, not {ask}", "accept more models in resources.gpus")
    if offer.gpu_count < ask.count:
        return Refusal(
            Code.TOO_FEW_GPUS,
            subject,
            f"has {offer.gpu_count} GPUs per node, {ask.count} asked",
            "fewer GPUs, more nodes",
        )
    if offer.cpus * 1000 < Ask.of(resources).cpu_milli or offer.memory_gib < resources.memory_gib:
        have = f"{offer.cpus} CPUs and {offer.memory_gib:g} GiB"
        return Refusal(Code.TOO_SMALL, subject, f"has {have} per node", "ask for fewer CPUs or less memory")
    cannot_save = offer.no_gpu_process_saves if ask.count else offer.no_process_saves
    if resources.process_saves and cannot_save:
        message = f"cannot save a running program: {cannot_save}"
        return Refusal(Code.CANNOT_SAVE, subject, message, "another provider, or a program that saves itself")
    if resources.nodes_min > 1 and resources.fabric is Fabric.ONE and offer.fabric_domain is None:
        return Refusal(Code.NO_FABRIC, subject, "has no fabric between its nodes", "resources.fabric: any")
    return None
