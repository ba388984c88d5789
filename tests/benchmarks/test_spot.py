"""The spot benchmark: its replay and its optimum on series that can be reckoned by hand."""

from pathlib import Path

import numpy as np
import pytest
from godwit.scheduler.spot import baselines, policy
from godwit.scheduler.spot.situation import Task
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.spot import measurement, omniscient, replay
from benchmarks.spot.series import Series

TASK = Task(work_h=2.0, window_h=4.0, changeover_h=0.2, usd_per_hour=3.0)
SPOT_USD = 1.0
LOOK_S = 600


def series(*places: str) -> Series:
    """Places over looks of ten minutes: `#` there, `.` away."""
    there = np.array([[letter == "#" for letter in place] for place in places]).T
    return Series(tuple(f"zone {index}" for index in range(len(places))), there, LOOK_S)


def test_the_optimum_where_spot_is_always_there_is_the_work_and_one_changeover_at_its_price() -> None:
    assert omniscient.least_usd(series("#" * 24), 0, TASK, SPOT_USD) == pytest.approx(2.2)


def test_the_optimum_where_spot_is_never_there_is_all_on_demand() -> None:
    assert omniscient.least_usd(series("." * 24), 0, TASK, SPOT_USD) == pytest.approx(2.2 * 3)


def test_the_optimum_leaves_spells_alone_that_cost_more_than_they_bring() -> None:
    # Ten minutes of spot are less than a changeover: nothing comes of them.
    assert omniscient.least_usd(series("#..#..#..#..#..#..#..#.."), 0, TASK, SPOT_USD) == pytest.approx(2.2 * 3)


def test_the_optimum_moves_to_another_place_when_one_is_lost() -> None:
    one = series("######" + "." * 18)
    both = series("######" + "." * 18, "......" + "#" * 9 + "." * 9)
    assert omniscient.least_usd(both, 0, TASK, SPOT_USD) == pytest.approx(2.4)
    assert omniscient.least_usd(one, 0, TASK, SPOT_USD) == pytest.approx(1 + 3 * (1.2 + 0.2))


@given(
    places=st.lists(st.lists(st.booleans(), min_size=24, max_size=24), min_size=1, max_size=2),
    chooser=st.sampled_from([policy.choose, baselines.uniform_progress, baselines.greedy]),
)
@settings(max_examples=25, deadline=None)
def test_nobody_is_late_and_nobody_beats_the_optimum(places: list[list[bool]], chooser: replay.Policy) -> None:
    there = Series(tuple(f"zone {index}" for index in range(len(places))), np.array(places).T, LOOK_S)
    run = replay.replay(chooser, there, 0, TASK, SPOT_USD, replay.Seen.nothing(there))
    assert run.in_time
    assert run.usd >= omniscient.least_usd(there, 0, TASK, SPOT_USD) - 1e-9


def test_what_a_policy_knows_is_what_was_before_its_job() -> None:
    there = series("##..##..")
    seen = replay.pasts(there, [0, 4])
    assert seen[0].any.is_there is None
    assert sum(seen[4].any.lifetimes(there=True).ends) == 1


def test_without_the_traces_there_are_no_figures_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GODWIT_TRACES", str(tmp_path))
    assert list(measurement.measure()) == []
    assert "spot: not measured" in capsys.readouterr().err
