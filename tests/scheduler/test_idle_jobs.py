"""A job that holds GPUs and leaves them idle is told of once, and ended only where the operator wants that."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import JobKind
from godwit.scheduler.idle_jobs import REACT_S, Held, IdleJobs, Verdict, ended, told, verdict

NOW = 100_000.0
TELLS, RECLAIMS = IdleJobs(1_800.0), IdleJobs(1_800.0, reclaims=True)
IDLE = Held(
    JobKind.TRAIN, gpus=16, nodes=2, running_since=NOW - 7_200, node_minutes=58, busy_max=0.0, busy_at=NOW - 5_000
)


def test_an_owner_is_told_of_gpus_that_did_nothing_for_long_enough() -> None:
    assert verdict(IDLE, TELLS, NOW) is Verdict.TELL
    assert (
        told(IDLE, TELLS) == "its 16 GPUs have done nothing for 30 minutes; end it with `godwit cancel` if it is stuck"
    )


@pytest.mark.parametrize(
    ("why", "changed"),
    [
        ("one of its GPUs worked for a moment", {"busy_max": 1.0}),
        ("it has just begun to work", {"busy_now": 40.0}),
        ("it has not run for so long", {"running_since": NOW - 1_799}),
        ("half of the time is not known", {"node_minutes": 29}),
        ("it is a service, which waits for requests", {"kind": JobKind.SERVICE}),
        ("it is an environment, which has its own idle time", {"kind": JobKind.DEV}),
        ("it holds no GPUs", {"gpus": 0}),
    ],
)
def test_it_is_left_alone_because(why: str, changed: dict[str, object]) -> None:
    assert verdict(replace(IDLE, **changed), RECLAIMS, NOW) is Verdict.NOTHING, why  # type: ignore[arg-type]


def test_zero_seconds_turn_it_off() -> None:
    assert verdict(IDLE, IdleJobs(0.0, reclaims=True), NOW) is Verdict.NOTHING


def test_it_is_told_once_until_it_has_worked_or_started_anew() -> None:
    was_told = replace(IDLE, told_at=NOW - 3_000)
    assert verdict(was_told, TELLS, NOW) is Verdict.NOTHING
    assert verdict(replace(was_told, busy_at=NOW - 2_000), TELLS, NOW) is Verdict.TELL
    assert verdict(replace(was_told, running_since=NOW - 2_000), TELLS, NOW) is Verdict.TELL


def test_it_is_ended_only_where_that_is_wanted_and_not_before_its_owner_could_react() -> None:
    assert verdict(IDLE, RECLAIMS, NOW) is Verdict.TELL
    assert "it is ended in 10 minutes" in told(IDLE, RECLAIMS)
    assert verdict(replace(IDLE, told_at=NOW - REACT_S + 1), RECLAIMS, NOW) is Verdict.NOTHING
    assert verdict(replace(IDLE, told_at=NOW - REACT_S), RECLAIMS, NOW) is Verdict.RECLAIM
    assert verdict(replace(IDLE, told_at=NOW - 7_000, busy_at=None), RECLAIMS, NOW) is Verdict.RECLAIM
    assert verdict(replace(IDLE, told_at=NOW - 3_000), TELLS, NOW) is Verdict.NOTHING
    assert ended(IDLE, RECLAIMS) == "ended: its 16 GPUs did nothing for more than 30 minutes"
