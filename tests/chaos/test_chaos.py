"""Real processes are killed at random for minutes: every job ends as it should, nothing runs twice, nothing leaks.

GODWIT_CHAOS_SEED and GODWIT_CHAOS_MINUTES say which kills come, and for how long; GODWIT_CHAOS_RAY=0 leaves out the
jobs with a real Ray.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import chaos, schedule, work
from tests.chaos.judge import Verdict
from tests.chaos.schedule import PACK, QUICK, Victim

SEED = int(os.environ.get("GODWIT_CHAOS_SEED", "1"))
MINUTES = float(os.environ.get("GODWIT_CHAOS_MINUTES", "10"))
SORTS = work.SHELLS + (work.ON_RAY if os.environ.get("GODWIT_CHAOS_RAY", "1") != "0" else ())


def what_is_wrong(verdict: Verdict, folder: Path) -> str:
    """The verdict in one line, and where the evidence lies."""
    return f"{'; '.join(verdict.wrong)} (logs and diaries: {folder})"


def test_a_schedule_is_the_same_each_time_and_each_pack_has_every_victim() -> None:
    kills = schedule.of(7, lasts_s=600.0)
    assert kills == schedule.of(7, lasts_s=600.0) != schedule.of(8, lasts_s=600.0)
    assert Counter(kill.victim for kill in kills[: sum(PACK.values())]) == PACK
    assert set(PACK) == set(Victim)
    assert [kill.at_s for kill in kills] == sorted(kill.at_s for kill in kills)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_each_part_of_a_fleet_is_killed_once_and_no_job_suffers_for_it(tmp_path: Path) -> None:
    kills = schedule.of(seed=1, lasts_s=120.0, pack=QUICK, gap_s=(2.0, 4.0))[: len(QUICK)]
    assert {kill.victim for kill in kills} == set(QUICK)
    verdict = chaos.live_through(tmp_path, kills, work.QUICK, seed=1)
    assert not verdict.wrong, what_is_wrong(verdict, tmp_path)


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(60 * MINUTES + 1500)
def test_whatever_is_killed_every_job_ends_as_it_should_once_and_nothing_leaks(tmp_path: Path) -> None:
    print(f"\nseed {SEED}, {MINUTES:g} minutes, below {tmp_path}")
    verdict = chaos.live_through(tmp_path, schedule.of(SEED, 60 * MINUTES), SORTS, SEED)
    assert not verdict.wrong, what_is_wrong(verdict, tmp_path)
