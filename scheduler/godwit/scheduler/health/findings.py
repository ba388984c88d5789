"""From a finding to a decision: what it calls for, whether an incident has it already, or a new one begins."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from godwit.domain.health import Finding, Incident, IncidentState, Remedy
from godwit.domain.ids import IncidentId, NodeId
from godwit.domain.nodes import Node
from godwit.scheduler.health import bursts, combinations, eviction, ladder, repeats, signs, steps, verdicts, work, xids
from godwit.scheduler.health.breaker import Budget
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import ACTIVE_CHECKS, Rule, Verdict
from godwit.scheduler.plan import Action, DecideFinding, Evict, MoveIncident, OpenIncident, TripBreaker


def decide(finding: Finding, book: Casebook, budget: Budget) -> Iterator[Action]:
    """Answer one finding that nobody decided yet; `book` and `budget` learn of what is opened."""
    node = book.node(finding.node_id)
    if node is None or node.gone or node.state in steps.AWAY:
        yield DecideFinding(finding.id, Remedy.NONE, Rule.OVER, "the machine is gone")
    elif signs.is_over(finding):
        yield from _over(finding, book)
    else:
        verdict = verdict_of(finding, book)
        if verdict.gang:
            yield from _gang(finding, verdict, book)
        elif verdict.suspects:
            yield from _suspect(finding, verdict, book, budget)
        elif verdict.takes_out and (covering := book.covering(finding)) is not None:
            yield from _absorb(finding, verdict, covering, book)
        elif verdict.takes_out or verdict.restarts or verdict.asks:
            yield from _open(finding, verdict, node, book, budget)
        else:
            yield DecideFinding(finding.id, verdict.remedy, verdict.rule, verdict.reason)


def verdict_of(finding: Finding, book: Casebook) -> Verdict:
    """What a finding calls for by itself and by what came with it or before; the ladder comes later."""
    if finding.check in signs.JOB_CHECKS:
        return work.judged(finding, book)
    first = (
        verdicts.by_recovery(finding)
        or combinations.by_announcement(finding, book)
        or combinations.by_neighbours(finding, book)
        or verdicts.by_registers(finding)
        or verdicts.by_table(finding)
        or verdicts.by_check(finding)
    )
    verdict = repeats.judged(finding, first, book)
    if finding.code in xids.CONTAINED and verdict.remedy is Remedy.RESTART_JOB:
        why = f"{verdict.reason}; only the program that met it ends, and the row is remapped by a reset"
        return Verdict(Remedy.DRAIN_AND_RESET, verdict.rule, why)
    return verdict


def _over(finding: Finding, book: Casebook) -> Iterator[Action]:
    """What was only waited for is not needed any more; what a reset or a boot must end goes on."""
    yield DecideFinding(finding.id, Remedy.NONE, Rule.OVER, finding.reason)
    for incident in list(book.incidents_on(finding.node_id)):
        waits = incident.state is IncidentState.OPEN and (eviction.drains(incident) or eviction.swaps(incident))
        if waits and incident.code not in xids.STICKY and steps.ends(finding, incident):
            node = book.node(finding.node_id)
            if node is not None:
                yield from steps.forgive(incident, node, book, "what was found is over before anything was done")


def _absorb(finding: Finding, verdict: Verdict, incident: Incident, book: Casebook) -> Iterator[Action]:
    """An incident takes out the same device: the stronger of both remedies goes on."""
    raises = verdict.remedy.strength > incident.remedy.strength
    is_result = incident.state is IncidentState.TESTING and finding.check in ACTIVE_CHECKS
    if not raises or is_result or incident.state is IncidentState.ESCALATED:
        why = f"{verdict.reason}; incident {incident.id} has it"
        yield DecideFinding(finding.id, verdict.remedy, Rule.ABSORBED, why, incident.id)
        return
    yield DecideFinding(finding.id, verdict.remedy, verdict.rule, verdict.reason, incident.id)
    to = IncidentState.HELD if incident.state is IncidentState.HELD else IncidentState.OPEN
    yield MoveIncident(incident.id, to, verdict.reason, verdict.remedy)
    book.replace(incident, replace(incident, remedy=verdict.remedy))


def _open(finding: Finding, verdict: Verdict, node: Node, book: Casebook, budget: Budget) -> Iterator[Action]:
    near = book.all_active if verdict.restarts else book.incidents_on(node.id)
    same = next((one for one in near if _is_same(one, finding, verdict)), None)
    if same is not None:
        why = f"{verdict.reason}; incident {same.id} has it"
        yield DecideFinding(finding.id, verdict.remedy, Rule.ABSORBED, why, same.id)
        return
    if verdict.restarts and not _runs(finding, book):
        why = f"{verdict.reason}; its attempt has ended already"
        yield DecideFinding(finding.id, Remedy.NONE, verdict.rule, why)
        return
    verdict = ladder.begin(verdict, (node.id, finding.gpu), book)
    incident = _incident(finding, verdict, node, book)
    if verdict.takes_out:
        incident, trip = _held(incident, finding, node, book, budget)
        yield from trip
    elif verdict.restarts and not book.policy.acts:
        incident = replace(incident, state=IncidentState.HELD, detail="health.acts is off")
    yield DecideFinding(finding.id, verdict.remedy, verdict.rule, verdict.reason, incident.id)
    yield OpenIncident(incident, verdict.reason)
    if incident.state is IncidentState.OPEN and verdict.takes_out:
        yield from steps.begin(incident, node, book, budget)
    elif verdict.restarts and incident.state is IncidentState.OPEN:
        yield from eviction.restarts(incident, book)
    book.open(incident)


def _gang(finding: Finding, verdict: Verdict, book: Casebook) -> Iterator[Action]:
    """The job stops, and its nodes are held together and tested; nothing else is done to those that pass."""
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    if attempt is None or attempt.outcome is not None:
        yield DecideFinding(finding.id, Remedy.NONE, verdict.rule, f"{verdict.reason}; its attempt has ended already")
        return
    node = book.node(finding.node_id)
    if node is None:
        return
    stops = replace(_incident(finding, verdict, node, book), remedy=Remedy.RESTART_JOB, job_ids=(attempt.job_id,))
    stops = stops if book.policy.acts else replace(stops, state=IncidentState.HELD)
    yield DecideFinding(finding.id, verdict.remedy, verdict.rule, verdict.reason, stops.id)
    yield OpenIncident(stops, verdict.reason)
    book.open(stops)
    if book.policy.acts:
        yield from _held_together(stops, sorted({slot.node_id for slot in attempt.slots}), book)
        yield Evict(attempt.id, attempt.job_id, stops.id, saves=False, reason=verdict.reason)


def _held_together(cause: Incident, node_ids: Iterable[NodeId], book: Casebook) -> Iterator[Action]:
    for number, node_id in enumerate(node_ids, 1):
        node = book.node(node_id)
        if node is not None:
            held = replace(
                cause, id=IncidentId(f"{cause.id}-{number}"), node_id=node_id, provider=node.offer.provider,
                state=IncidentState.HELD, remedy=Remedy.NONE, gpus=(), cause=cause.id,
                detail="all nodes of the job are tested",
            )  # fmt: skip
            yield OpenIncident(held, cause.reason)
            book.open(held)


def _suspect(finding: Finding, verdict: Verdict, book: Casebook, budget: Budget) -> Iterator[Action]:
    """What a job suffers and what hardware said shortly before belong together: the nodes that said it are tested."""
    incidents: list[Incident] = []
    actions: list[Action] = []
    for sign in verdict.suspects:
        node = book.node(sign.node_id)
        if node is None or book.covering(sign) is not None or book.is_known(incident_id(sign.id)):
            continue
        told = ladder.begin(verdict, (node.id, sign.gpu), book)
        incident, trip = _held(_incident(sign, told, node, book), sign, node, book, budget)
        actions += [*trip, OpenIncident(incident, told.reason)]
        if incident.state is IncidentState.OPEN:
            actions += steps.begin(incident, node, book, budget)
        book.open(incident)
        incidents.append(incident)
    first = incidents[0].id if incidents else None
    yield DecideFinding(finding.id, verdict.remedy, verdict.rule, verdict.reason, first)
    yield from actions


def _is_same(one: Incident, finding: Finding, verdict: Verdict) -> bool:
    """Whether an incident that takes out nothing is about the same: of the same job, or asked about already."""
    if verdict.restarts:
        return finding.job_id in one.job_ids and one.remedy is Remedy.RESTART_JOB
    is_asked = verdict.asks and one.state is IncidentState.ESCALATED
    return is_asked and one.code == finding.code and (finding.gpu is None or finding.gpu in one.gpus)


def _runs(finding: Finding, book: Casebook) -> bool:
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    return attempt is not None and attempt.outcome is None


def _incident(finding: Finding, verdict: Verdict, node: Node, book: Casebook) -> Incident:
    state = IncidentState.ESCALATED if verdict.asks else IncidentState.OPEN
    jobs = (finding.job_id,) if verdict.restarts and finding.job_id is not None else ()
    gpus = () if finding.gpu is None or verdict.restarts else (finding.gpu,)
    return Incident(
        incident_id(finding.id), node.id, node.offer.provider, state, book.now, book.now, finding.check, finding.code,
        str(verdict.rule), verdict.reason, verdict.remedy, gpus=gpus, job_ids=jobs,
    )  # fmt: skip


def incident_id(name: str) -> IncidentId:
    """An incident's id, from that of its first finding: a plan that is made twice opens it once."""
    return IncidentId(f"incident-{name.removeprefix('finding-')}")


def _held(
    incident: Incident, finding: Finding, node: Node, book: Casebook, budget: Budget
) -> tuple[Incident, list[Action]]:
    """The incident, held where something forbids to act: the operator, a common cause, or the breaker."""
    held = replace(incident, state=IncidentState.HELD)
    if not book.policy.acts:
        return replace(held, detail="health.acts is off"), []
    cause = bursts.cause_of(finding, node, book)
    if cause is not None:
        return replace(held, cause=cause.id, detail=f"one of several with the same cause: {cause.id}"), []
    if book.view.tripped_at is not None:
        return replace(held, detail="the breaker is tripped: a person decides"), []
    why = budget.refusal(node)
    if why is None:
        budget.take(node)
        return incident, []
    trip: list[Action] = [TripBreaker(why)] if budget.trips(node) and not book.has_tripped else []
    book.has_tripped = book.has_tripped or bool(trip)
    return replace(held, detail=why), trip
