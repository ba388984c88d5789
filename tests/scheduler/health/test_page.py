"""The page about the policy says what the code does."""

from dataclasses import fields
from pathlib import Path

from godwit.scheduler.health import page
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.verdicts import RULES, Rule

PAGE = Path(__file__).parents[3] / "docs" / "health-policy.md"


def test_the_page_is_the_code() -> None:
    written = "run python -m godwit.scheduler.health.page > docs/health-policy.md"
    assert PAGE.read_text() == page.markdown(), written


def test_every_rule_and_every_setting_has_its_words_and_its_source() -> None:
    assert set(RULES) == set(Rule)
    for one in fields(HealthPolicy):
        assert one.metadata["says"]
        assert one.metadata["source"]
