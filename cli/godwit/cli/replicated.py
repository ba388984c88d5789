"""Services as people see them: from a specification to one that takes requests, and their tables."""

import time
from collections.abc import Callable

from godwit.cli import figures, following, output
from godwit.cli.client import ControlPlane, Refused, Unreachable, path_of
from godwit.domain.wire.services import ReplicaView, ServiceDetail, ServiceView

POLL_S = 1.0
"""How often it is looked whether a service takes requests; replicas take seconds to minutes to come."""

COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("STATE"),
    output.Column("VERSION", right=True),
    output.Column("READY", right=True),
    output.Column("WANTED"),
    output.Column("ROLLOUT", whole=False),
    output.Column("AGE", right=True),
)
REPLICA_COLUMNS = (
    output.Column("REPLICA", whole=False),
    output.Column("VERSION", right=True),
    output.Column("STATE"),
    output.Column("JOB"),
    output.Column("WHERE", whole=False),
    output.Column("IN FLIGHT", right=True),
    output.Column("AGE", right=True),
)


def row(of: ServiceView, now: float) -> tuple[str, ...]:
    """A service as a line."""
    return (of.name, of.state, str(of.version), str(of.ready), wanted(of), rollout(of), figures.age(of.created_at, now))


def wanted(of: ServiceView) -> str:
    """How many replicas are wanted, and within which bounds."""
    bounds = "" if of.replicas_min == of.replicas_max else f" of {of.replicas_min}..{of.replicas_max}"
    return f"{of.replicas}{bounds}"


def rollout(of: ServiceView) -> str:
    """The change of versions that is under way, if one is."""
    if of.rollout is None:
        return "-"
    word = "back to" if of.rollout.backwards else f"{of.rollout.share:.0%} of"
    held = " (paused)" if of.rollout.paused else ""
    return f"{word} {of.rollout.before if of.rollout.backwards else of.rollout.version}{held}"


def rollout_story(of: ServiceDetail) -> list[str]:
    """A change of versions in lines: how far it is, what each version has, and what keeps it from going on."""
    change = of.rollout
    if change is None:
        lines = [f"{of.name}: version {of.version}, and no change under way"]
    else:
        step = f", step {min(change.step + 1, change.steps)} of {change.steps}" if change.steps else ""
        lines = [f"{of.name}: {change.strategy} from version {change.before} to {change.version}{step}"]
        lines += [f"taken back: {change.backwards}"] if change.backwards else []
        lines += [f"paused: {change.paused}; `godwit rollout {of.name} resume`"] if change.paused else []
        lines += ["promoted: it takes all requests as soon as it has replicas for them"] if change.promoted else []
    lines += [
        f"version {one.version}: {one.share:.0%} of the requests, {one.ready} of {one.replicas} replicas ready"
        for one in of.versions
        if one.replicas or one.share
    ]
    return lines + ([f"why not more: {of.why}"] if of.why else [])


def replica_row(of: ReplicaView, now: float) -> tuple[str, ...]:
    """A replica as a line."""
    spot = " (spot)" if of.spot else ""
    flying = "-" if of.in_flight is None else str(of.in_flight)
    age = figures.age(of.created_at, now)
    return (of.name, str(of.version), of.state, of.job_state, (of.zone or "-") + spot, flying, age)


def story(of: ServiceDetail) -> list[str]:
    """What else there is to say of a service, in lines."""
    lines = [f"{of.name}: {of.state}, version {of.version}; {of.ready} replicas take requests, {wanted(of)} wanted"]
    lines.append(f"requests go to /services/{of.project}/{of.name}/ at a gateway (`godwit gateway`)")
    if of.why:
        lines.append(f"why not more: {of.why}")
    if of.rollout is not None:
        lines.append(f"{of.rollout.strategy} from version {of.rollout.before} to {of.rollout.version}: {rollout(of)}")
        if of.rollout.backwards:
            lines.append(f"taken back: {of.rollout.backwards}")
    if of.traffic is not None:
        seen = of.traffic
        lines.append(
            f"{seen.requests_per_s:.1f} requests/s, {seen.failed_per_s:.1f} failed and {seen.shed_per_s:.1f} shed, "
            f"{seen.in_flight} in flight, {seen.queued} queued; latency p50 {figures.latency(seen.latency_p50_s)}, "
            f"p99 {figures.latency(seen.latency_p99_s)} (by {seen.gateways} gateways)"
        )
    else:
        lines.append("no gateway has measured anything lately")
    return lines


def until_ready(
    connect: Callable[[], ControlPlane],
    name: str,
    say: Callable[[str], None],
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> ServiceDetail:
    """Follow a service until all its replicas take requests and its versions are settled, or until it is removed."""
    outage, client, before = following.Outage(monotonic), None, ""
    while True:
        try:
            client = client or connect()
            found = client.get(path_of("/v1/services", name), ServiceDetail)
            for _back in outage.ended():
                say("the control plane answers again")
            line = f"{found.name}: {found.ready} of {found.replicas} replicas take requests"
            line += f"; {rollout(found)}" if found.rollout is not None else ""
            line += f"; {found.why}" if found.why else ""
            if line != before:
                say(line)
            before = line
            if found.state != "serving" or (found.ready >= found.replicas and found.rollout is None):
                return found
        except (Unreachable, Refused) as failure:
            if isinstance(failure, Refused) and failure.status < 500:
                raise
            client = None
            for away in outage.goes_on(failure):
                say(f"{away.message}; the service goes on")
            pause(outage.backoff_s())
            continue
        pause(POLL_S)
