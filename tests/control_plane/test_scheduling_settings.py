"""The section `scheduling` of config.yaml: few words, and each wrong one is named."""

from pathlib import Path

import pytest
from godwit.control_plane import settings
from godwit.domain.errors import InvalidRequest
from godwit.scheduler.giving_way import GivesWay, Preemption
from godwit.scheduler.idle_jobs import IdleJobs


def read(folder: Path, text: str) -> Preemption:
    (folder / "config.yaml").write_text(text)
    return settings.read(folder).policy.preemption


@pytest.mark.parametrize(
    ("text", "by", "min_run_s"),
    [
        ("port: 0", GivesWay.PRIORITY, 300.0),
        ("scheduling:", GivesWay.PRIORITY, 300.0),
        ("scheduling: {preemption: off}", GivesWay.OFF, 300.0),
        ("scheduling: {preemption: 'off'}", GivesWay.OFF, 300.0),
        ("scheduling: {preemption: quota, min_run_s: 60}", GivesWay.QUOTA, 60.0),
        ("scheduling: {min_run_s: 0}", GivesWay.PRIORITY, 0.0),
    ],
)
def test_who_gives_way_is_said_in_a_word(tmp_path: Path, text: str, by: GivesWay, min_run_s: float) -> None:
    assert read(tmp_path, text) == Preemption(by, min_run_s)


@pytest.mark.parametrize(("word", "is_shared"), [("on", True), ("true", True), ("off", False), ("null", False)])
def test_time_is_shared_where_the_operator_says_so(tmp_path: Path, word: str, is_shared: bool) -> None:
    assert read(tmp_path, f"scheduling: {{time_sharing: {word}}}") == Preemption(time_sharing=is_shared)
    assert read(tmp_path, "scheduling: {time_sharing: off, preemption: off}") == Preemption(GivesWay.OFF)


def test_the_planner_moves_jobs_by_itself_unless_it_is_told_not_to(tmp_path: Path) -> None:
    assert settings.read(tmp_path).policy.migration.acts
    (tmp_path / "config.yaml").write_text("scheduling: {migration: off}")
    assert not settings.read(tmp_path).policy.migration.acts


def test_what_was_held_counts_as_long_as_the_operator_says(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("scheduling: {half_life_s: 86400}")
    assert settings.read(tmp_path).policy.forgetting.half_life_s == 86_400.0


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("[1]", "scheduling must hold keys and values"),
        ("{preemption: always}", "scheduling.preemption must be off, quota, priority, not 'always'"),
        ("{preemtion: off}", "scheduling.preemtion is not known; did you mean preemption?"),
        ("{min_run_s: -1}", "scheduling.min_run_s must be seconds from 0 to 2592000, not -1"),
        ("{min_run_s: .inf}", "not inf"),
        ("{min_run_s: .nan}", "not nan"),
        ("{min_run_s: true}", "not True"),
        ("{preemption: [off], min_run_s: x}", "not 'x'"),
        ("{time_sharing: maybe}", "scheduling.time_sharing must be true or false, not 'maybe'"),
        ("{time_sharing: 1}", "not 1"),
        ("{time_sharing: on, preemption: off}", "scheduling.time_sharing stops jobs, and preemption is off"),
        ("{migration: sometimes}", "scheduling.migration must be true or false"),
        ("{half_life_s: 0}", "scheduling.half_life_s must be seconds from 60 to 31622400, not 0"),
        ("{half_life_s: .nan}", "not nan"),
    ],
)
def test_every_wrong_word_is_named(tmp_path: Path, section: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, f"scheduling: {section}")
    assert says in refused.value.message


def test_what_becomes_of_jobs_whose_gpus_do_nothing_is_said_in_seconds_and_a_word(tmp_path: Path) -> None:
    assert settings.read(tmp_path).policy.idle_jobs == IdleJobs(1_800.0, reclaims=False)
    (tmp_path / "config.yaml").write_text("scheduling: {idle_job_after_s: 600, reclaim_idle_jobs: true}")
    assert settings.read(tmp_path).policy.idle_jobs == IdleJobs(600.0, reclaims=True)
    (tmp_path / "config.yaml").write_text("scheduling: {idle_job_after_s: 0}")
    assert settings.read(tmp_path).policy.idle_jobs == IdleJobs(0.0, reclaims=False)
    (tmp_path / "config.yaml").write_text("scheduling: {idle_job_after_s: 30, reclaim_idle_jobs: maybe}")
    with pytest.raises(
        InvalidRequest, match=r"idle_job_after_s must be 0 .*; scheduling.reclaim_idle_jobs must be true"
    ):
        settings.read(tmp_path)
