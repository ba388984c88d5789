"""A finding is told once, again when it changes, and once more when it is over."""

import json

from godwit.agents.checks.ledger import Ledger
from godwit.agents.checks.rules import Clears, Rule, Sign
from godwit.agents.effects import Found
from godwit.domain.health import Grade, Remedy
from hypothesis import given
from hypothesis import strategies as st


def rule(clears: Clears = "gone", raise_at: int = 1, window: int = 1, clear_after: int = 3) -> Rule:
    return Rule("a:b", "when", Grade.UNHEALTHY, Remedy.REBOOT, "us", raise_at, window, clear_after, clears)


def sample(ledger: Ledger, of: Rule, seen: bool) -> list[Grade]:
    signs = [Sign(of, "why", "GPU-1")] if seen else []
    return [found.grade for found in ledger.sample("check", "GPU-1", [of], signs)]


def test_what_goes_on_is_told_once_and_once_more_when_it_is_over() -> None:
    ledger, of = Ledger("boot"), rule()
    told = [sample(ledger, of, seen) for seen in (True, True, False, False, True, False, False, False, False)]
    assert [grades for grades in told if grades] == [[Grade.UNHEALTHY], [Grade.HEALTHY]]
    assert told[7] == [Grade.HEALTHY], "three clean samples in a row"


def test_a_rate_needs_so_many_of_the_last_samples() -> None:
    ledger, of = Ledger("boot"), rule(raise_at=3, window=5)
    assert [bool(sample(ledger, of, seen)) for seen in (True, False, True, False, False, True, True)] == [False] * 6 + [
        True
    ]


def test_what_only_a_reset_ends_outlives_clean_samples() -> None:
    ledger, of = Ledger("boot"), rule("reset")
    assert sample(ledger, of, True) == [Grade.UNHEALTHY]
    assert [sample(ledger, of, False) for _ in range(5)] == [[]] * 5
    assert ledger.was_reset(["GPU-2"]) == []
    (over,) = ledger.was_reset(["GPU-1"])
    assert (over.grade, over.code, over.gpu) == (Grade.HEALTHY, "a:b", "GPU-1")
    assert sample(ledger, of, True) == [Grade.UNHEALTHY], "and it may come again"


def test_after_a_reset_one_clean_sample_is_enough() -> None:
    ledger, of = Ledger("boot"), rule()
    sample(ledger, of, True)
    assert ledger.was_reset(["GPU-1"]) == []
    assert sample(ledger, of, False) == [Grade.HEALTHY]


def test_a_reboot_ends_what_resets_end_too_but_not_what_a_person_ends() -> None:
    first = Ledger("boot-1")
    for clears in ("reset", "reboot", "person"):
        happened = Found("xid", Grade.UNHEALTHY, "it said so", clears, gpu="GPU-1", evidence={"line": "x"})
        assert first.happened(happened, clears).boot_id == "boot-1"
    same = Ledger("boot-1", json.loads(json.dumps(first.to_list())))
    assert same.booted() == []
    second = Ledger("boot-2", json.loads(json.dumps(first.to_list())))
    assert {found.code for found in second.booted()} == {"reset", "reboot"}
    assert [found.code for found in second.standing()] == ["person"]
    assert second.booted() == []


def test_what_happened_and_does_not_last_is_told_each_time_and_does_not_stand() -> None:
    ledger = Ledger("boot")
    ledger.happened(Found("xid", Grade.DEGRADED, "it said so", "xid:13"), "event")
    assert ledger.standing() == []


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(0, 3), st.integers(1, 4))
def test_bad_and_over_alternate_whatever_comes(seen: list[bool], raise_at: int, more: int, clear_after: int) -> None:
    ledger, of = Ledger("boot"), rule(raise_at=raise_at, window=raise_at + more, clear_after=clear_after)
    told = [grade for one in seen for grade in sample(ledger, of, one)]
    assert told == [Grade.UNHEALTHY, Grade.HEALTHY] * (len(told) // 2) + [Grade.UNHEALTHY] * (len(told) % 2)
    assert bool(ledger.standing()) == (len(told) % 2 == 1)
