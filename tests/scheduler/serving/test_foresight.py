"""What past days foresee: their middle, as far ahead as a replica takes to start, and never less than is needed now."""

import math

from godwit.domain.ids import JobId, ServiceId
from godwit.domain.services import Replica, ReplicaState
from godwit.domain.serving import Autoscale, Serving
from godwit.scheduler.serving import autoscale, foresight
from hypothesis import given
from hypothesis import strategies as st

NOW = 30 * foresight.DAY_S + 9 * 3600.0


def past(*days: float, at: float = NOW) -> dict[int, float]:
    """What was needed at this time, by days ago."""
    return {foresight.bucket(at - (ago + 1) * foresight.DAY_S): need for ago, need in enumerate(days)}


def test_the_middle_of_past_days_is_foreseen_and_one_day_alone_says_nothing() -> None:
    assert foresight.foreseen({}, 180.0, NOW) is None
    assert foresight.foreseen(past(9.0), 180.0, NOW) is None
    assert foresight.foreseen(past(4.0, 6.0), 180.0, NOW) == 5.0
    assert foresight.foreseen(past(4.0, 90.0, 5.0, 5.0, 6.0, 0.0, 0.0), 180.0, NOW) == 5.0, "one bad day is no pattern"
    assert foresight.foreseen(past(*[4.0] * 7, 99.0, 99.0), 180.0, NOW) == 4.0, "a week is looked at"


def test_it_looks_as_far_ahead_as_a_replica_takes_to_start() -> None:
    rush = past(8.0, 8.0, at=NOW + 1_200.0)
    quiet = past(1.0, 1.0)
    assert foresight.foreseen({**rush, **quiet}, 180.0, NOW) == 1.0
    assert foresight.foreseen({**rush, **quiet}, 1_200.0, NOW) == 8.0


def replica(took_s: float | None) -> Replica:
    ready_at = None if took_s is None else 100.0 + took_s
    return Replica(JobId("j"), ServiceId("s"), "r", 1, 0, ReplicaState.READY, 100.0, 100.0, ready_at=ready_at)


def test_how_long_a_replica_takes_to_start_is_measured() -> None:
    assert foresight.start_s([]) == foresight.START_S
    assert foresight.start_s([replica(None), replica(40.0), replica(60.0), replica(900.0)]) == 60.0
    assert foresight.start_s([replica(1e6)]) == foresight.START_MOST_S


@given(
    need=st.floats(0, 20), foreseen=st.none() | st.floats(0, 50), low=st.integers(0, 3), more=st.integers(0, 10),
    replicas=st.integers(0, 12),
)  # fmt: skip
def test_foresight_only_ever_adds_and_never_beyond_the_most(
    need: float, foreseen: float | None, low: int, more: int, replicas: int
) -> None:
    serving = Serving(low, low + more, autoscale=Autoscale(predict=True))
    samples, idle_since = ((900.0, need), (1_000.0, need)), 0.0 if need == 0 else None
    now_only, _ = autoscale.decide(serving, replicas, samples, idle_since, 1_000.0)
    ahead, why = autoscale.decide(serving, replicas, samples, idle_since, 1_000.0, foreseen)
    assert now_only <= ahead <= max(now_only, low + more)
    assert why
    if foreseen is not None:
        assert ahead >= min(low + more, math.floor(foreseen / (1 + autoscale.TOLERANCE)))
