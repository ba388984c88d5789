"""The section `scheduling` of config.yaml: few words, and each wrong one is named."""

from pathlib import Path

import pytest
from godwit.control_plane import settings
from godwit.domain.errors import InvalidRequest
from godwit.scheduler.giving_way import GivesWay, Preemption


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
    ],
)
def test_every_wrong_word_is_named(tmp_path: Path, section: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, f"scheduling: {section}")
    assert says in refused.value.message
