"""From one remedy to the next: cheapest first, each once in a while, and a device that keeps failing goes."""

from collections.abc import Iterable

from godwit.domain.health import Incident, Remedy
from godwit.scheduler.health.casebook import Casebook, Device, done, takes_out
from godwit.scheduler.health.verdicts import Rule, Verdict

RUNGS = (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE_NODE)
"""A reset that failed becomes a reboot (NVIDIA's guide to nvidia-smi); a reboot that did not help, another machine."""

RESETS = frozenset({Remedy.DRAIN_AND_RESET, Remedy.RESET_GPU})

REPAIRS = RESETS | {Remedy.REBOOT}
"""What the node's agent carries out."""

LEAVES = frozenset({Remedy.REPLACE_NODE, Remedy.CONTACT_SUPPORT})
"""The machine is given back."""


def after(incident: Incident) -> Remedy | None:
    """The rung that follows what an incident has tried; None when automation is at its end."""
    return above(done(incident))


def above(tried: Iterable[Remedy]) -> Remedy | None:
    """The weakest rung that is stronger than all of these; None when there is none."""
    # To drain and reset is a reset, only later: after it comes a reboot.
    strongest = max((Remedy.RESET_GPU if one in RESETS else one).strength for one in tried)
    return next((rung for rung in RUNGS if rung.strength > strongest), None)


def begin(verdict: Verdict, device: Device, book: Casebook) -> Verdict:
    """The verdict with the rung that the device's past leaves: each rung once in a while, and then the next."""
    if not verdict.takes_out or verdict.remedy in LEAVES:
        return verdict
    lemon = _lemon(device, book)
    if lemon is not None:
        return Verdict(Remedy.CONTACT_SUPPORT, Rule.LEMON, f"{verdict.reason}; {lemon}")
    repaired = _last(book, device, book.policy.again_s, {Remedy.RESET_GPU, Remedy.REBOOT})
    if verdict.remedy in {Remedy.RESET_GPU, Remedy.REBOOT} and repaired is not None:
        days = f"{book.policy.again_s / 86_400:.0f} days"
        why = f"it was repaired already within {days} (incident {repaired.id})"
        return Verdict(Remedy.REPLACE_NODE, verdict.rule, f"{verdict.reason}; {why}")
    # A test of all nodes of a job says that this one is well, and nothing of what it fails by now.
    tried = _last(book, device, book.policy.rung_s, {verdict.remedy}, but=Rule.LOSS)
    if tried is None:
        return verdict
    rung = above([verdict.remedy]) or Remedy.REPLACE_NODE
    what = "tested" if verdict.tests else str(verdict.remedy)
    return Verdict(rung, verdict.rule, f"{verdict.reason}; {what} was tried already today (incident {tried.id})")


def _last(
    book: Casebook, device: Device, within_s: float, remedies: Iterable[Remedy], *, but: Rule | None = None
) -> Incident | None:
    """The newest incident of a device that was over within this time, or is not over, and tried one of these.

    `but`: incidents of one cause by this rule do not count.
    """
    wanted = set(remedies)
    found = [
        one
        for one in book.history(device, book.now - within_s)
        if takes_out(one) and wanted & set(done(one)) and not (one.cause is not None and one.rule == but)
    ]
    return found[-1] if found else None


def _lemon(device: Device, book: Casebook) -> str | None:
    """Say why a device, or its node, fails too often to be kept; None when it does not."""
    policy = book.policy
    for name, of in (("this GPU", device), ("this node", (device[0], None))):
        faults = [one for one in book.history(of, book.now - policy.lemon_s) if _counts(one)]
        codes = {one.code or one.check for one in faults}
        days = f"{policy.lemon_s / 86_400:.0f} days"
        if len(faults) + 1 >= policy.lemon_faults:
            return f"{name} had {len(faults)} incidents in {days} before"
        if len(codes) >= policy.lemon_codes:
            return f"{name} had {len(codes)} different faults in {days} before"
    return None


def _counts(one: Incident) -> bool:
    """Whether something was wrong with the device: a test that it passed does not count, nor a burst's common cause."""
    strongest = max(remedy.strength for remedy in done(one))
    return takes_out(one) and one.cause is None and strongest >= Remedy.DRAIN_AND_RESET.strength
