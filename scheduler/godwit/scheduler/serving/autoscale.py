"""How many replicas a service needs by what its gateways measure, and how many it gets, so that it does not swing.

What is needed now is `ceil(replicas x measured / target)`, as Kubernetes' horizontal autoscaler has it (its
documentation, "Algorithm details"), with its tolerance of a tenth. It goes up by the mean over a window, and down only
to the most that was needed for a long time, which is its stabilization window.
"""

import math
from collections.abc import Sequence

from godwit.domain.serving import Autoscale, Serving, Signal
from godwit.scheduler.serving.view import Traffic

TOLERANCE = 0.1
"""How far a measure may be off its target without a change (Kubernetes' default)."""

GROWTH_MAX = 2.0
"""A delay says that there are too few, not how many: by it, a service at most doubles at a time."""

Samples = Sequence[tuple[float, float]]
"""What was needed, as (instant, replicas), the oldest first."""


def needed(of: Autoscale, traffic: Traffic | None, ready: int, value: float | None = None) -> float | None:
    """How many replicas the measures of the last window ask for, `ready` of them being there; not a whole number.

    None where nothing was measured. At least one while anybody wants anything, whatever the signal says of it. `value`
    is what its query gave.
    """
    is_idle = traffic is None or traffic.is_idle
    if of.signal is Signal.PROMETHEUS:
        least = 0.0 if is_idle else 1.0
        return None if value is None else max(least, value / of.target)
    if traffic is None:
        return None
    return 0.0 if is_idle else max(1.0, _asked(of, traffic, ready))


def _asked(of: Autoscale, traffic: Traffic, ready: int) -> float:
    if of.signal is Signal.IN_FLIGHT:
        return (traffic.in_flight + traffic.queued) / of.target
    if of.signal is Signal.TOKENS:
        return traffic.tokens_per_s / of.target
    measured = traffic.queue_delay_p90_s if of.signal is Signal.QUEUE_DELAY else traffic.latency_p99_s
    # A bound that is kept says that one replica less might do, and no more than that.
    return max(ready - 1.0, min(ready * GROWTH_MAX, ready * (measured or 0.0) / of.target))


def kept(samples: Samples, of: Autoscale, now: float) -> tuple[tuple[float, float], ...]:
    """The samples that still count, and one from before, so that one sees how far back they reach."""
    since = now - max(of.window_s, of.down_after_s)
    old = [sample for sample in samples if sample[0] <= since]
    return (*old[-1:], *(sample for sample in samples if sample[0] > since))


def decide(
    serving: Serving,
    replicas: int,
    samples: Samples,
    idle_since: float | None,
    now: float,
    foreseen: float | None = None,
) -> tuple[int, str]:
    """How many replicas there should be from now on, and why; `replicas` is how many are wanted so far.

    Always within the service's own bounds. To none only where these allow it, and up from none with the first request.
    Never fewer than what is needed now, whatever is `foreseen`.
    """
    count, why = _by_now(serving, replicas, samples, idle_since, now)
    ahead = min(serving.replicas_max, math.ceil((foreseen or 0.0) / (1 + TOLERANCE)))
    if serving.autoscale is None or ahead <= count:
        return count, why
    return ahead, f"{foreseen:.1f} replicas were needed at this time of past days"


def _by_now(serving: Serving, replicas: int, samples: Samples, idle_since: float | None, now: float) -> tuple[int, str]:
    low, high, of = serving.replicas_min, serving.replicas_max, serving.autoscale
    bounded = min(max(replicas, low), high)
    if of is None or bounded != replicas:
        return bounded, f"it may have {low} to {high}"
    if low == 0 and idle_since is not None and now - idle_since >= of.idle_after_s:
        return 0, f"nobody wanted anything of it for {now - idle_since:.0f} s"
    recent = [count for at, count in samples if at > now - of.window_s]
    if not recent:
        return replicas, "nothing was measured lately"
    mean = sum(recent) / len(recent)
    if mean > replicas * (1 + TOLERANCE):
        return _up(of, replicas, mean, high)
    return _down(of, replicas, samples, max(low, 1), now)


def _up(of: Autoscale, replicas: int, mean: float, high: int) -> tuple[int, str]:
    more = min(high, math.ceil(mean))
    said = f"{of.signal} asked for {mean:.1f} replicas over {of.window_s:g} s"
    return max(more, replicas), said if more > replicas else f"{said}, and {high} are the most"


def _down(of: Autoscale, replicas: int, samples: Samples, least: int, now: float) -> tuple[int, str]:
    since = now - of.down_after_s
    if not samples or samples[0][0] > since:
        return replicas, f"it has not been measured for {of.down_after_s:g} s"
    most = max(count for at, count in samples if at >= since or at == samples[0][0])
    fewer = max(least, math.ceil(most / (1 + TOLERANCE)))
    if fewer >= replicas:
        return replicas, "it has as many as it needs"
    return fewer, f"{of.signal} asked for {most:.1f} replicas at most for {of.down_after_s:g} s"
