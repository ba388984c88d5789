"""The section `health` of config.yaml: every threshold of the policy may be set, and each wrong word is named."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from godwit.control_plane import settings
from godwit.control_plane.first_config import FIRST_CONFIG
from godwit.domain.errors import InvalidRequest
from godwit.scheduler.health.policy import HealthPolicy

DEFAULT = HealthPolicy()


def read(folder: Path, text: str) -> HealthPolicy:
    (folder / "config.yaml").write_text(text)
    return settings.read(folder).policy.health


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("port: 0", DEFAULT),
        ("health:", DEFAULT),
        ("health: {acts: false, repeats: null}", replace(DEFAULT, acts=False)),
        ("health: {spares: auto}", replace(DEFAULT, spares=None)),
        ("health: {spares: 2, breaker_share: 0.1}", replace(DEFAULT, spares=2, breaker_share=0.1)),
        ("health: {sweep_every_s: 86400, drain_s: 60}", replace(DEFAULT, sweep_every_s=86_400.0, drain_s=60.0)),
        ("health: {sweep_every_s: off, spares: null}", replace(DEFAULT, sweep_every_s=None)),
    ],
)
def test_what_is_said_changes_and_the_rest_stays(tmp_path: Path, text: str, policy: HealthPolicy) -> None:
    assert read(tmp_path, text) == policy


def test_every_threshold_may_be_set(tmp_path: Path) -> None:
    values = {field.name: getattr(DEFAULT, field.name) for field in fields(HealthPolicy)}
    assert read(tmp_path, yaml.safe_dump({"health": values | {"sweep_every_s": False}})) == DEFAULT


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("[1]", "health must hold keys and values"),
        ("{spare: 1}", "health.spare is not known; did you mean spares?"),
        ("{acts: maybe}", "health.acts must be true or false, not 'maybe'"),
        ("{spares: -1}", "health.spares must be auto, or 0 to 1000, not -1"),
        ("{spares: some, repeats: 0}", "health.repeats must be a whole number from 1 to 1000, not 0"),
        ("{breaker_share: 20}", "health.breaker_share must be a share from 0 to 1, not 20"),
        ("{breaker_share: 0.6}", "must not be above breaker_most, which is 0.5, but is 0.6"),
        ("{drain_s: .inf}", "health.drain_s must be seconds from 0 to 31622400, not inf"),
        ("{swap_s: true}", "not True"),
        ("{burst_gap_s: 86400000}", "not 86400000"),
    ],
)
def test_every_wrong_word_is_named(tmp_path: Path, section: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, f"health: {section}")
    assert says in refused.value.message


def test_the_example_in_the_first_configuration_is_one_that_is_taken(tmp_path: Path) -> None:
    (line,) = re.findall(r"^# (health: .*)$", FIRST_CONFIG, re.MULTILINE)
    assert read(tmp_path, line) == DEFAULT
